package watch

// Rescan has the next Fetch look at everything.
func (d *Directory) Rescan() { d.watch.again() }
