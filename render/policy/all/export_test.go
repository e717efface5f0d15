package all

// NotYet is the reason of a policy that Local Mode has and the list does not.
const NotYet = notYet
