package recoil

// Command is a command for operators, as recoilctl lists it.
type Command struct {
	// Words are those by which it is called, with spaces between them, such as "key create".
	Words string
	// Usage is what follows them, such as "NAME [--bucket BUCKET]".
	Usage string
	// Help says in one sentence what it does.
	Help string
}
