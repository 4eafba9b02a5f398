// Package candidtext encodes Candid values from their text form (Candid
// specification, "Textual format" of values): what a user writes on a command
// line becomes an argument tuple.
//
//	parse.go     the text, to a tree of nodes
//	literals.go  numbers and what stands in quotes
//	types.go     the types: as they are written, and as values imply them
//	encode.go    a node as a value of a type
//
// All values can be written but references to services and functions. Two things
// are more generous than the specification. A number without a type and a sign is
// a nat, which canisters take for an int as well, and texts may have line breaks.
// The elements of a vec have one type between them: null and opt make an opt, nat
// and int an int, and variants one with the tags of all.
package candidtext
