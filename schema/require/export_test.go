package require

// Uncut makes the rules look at whole objects.
func (r *Rules) Uncut() {
	for _, x := range r.rules {
		x.spine, x.said, x.alone = everything(), everything(), false
	}
}

// LinkedSchema is what rules can say of the linked model.
var LinkedSchema = linkedSchema
