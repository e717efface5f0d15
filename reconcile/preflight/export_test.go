package preflight

// Row is a row of a table.
type Row = row

// Table is a table by its name.
func Table(name string) []Row { return table(name) }

// Number is the number of a cell.
func (x row) Number(column string) float64 { return x.number(column) }
