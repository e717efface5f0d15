package schema

// Memo keeps what Load made of unchanged files, so that the cost of a call follows the change. It is not safe for
// concurrent use. The zero Memo is empty.
type Memo struct{}
