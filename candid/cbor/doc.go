// Package cbor reads and writes the part of CBOR (RFC 8949) that the Internet
// Computer and the WebSocket protocol use: unsigned integers, byte and text
// strings, arrays, maps with text keys, booleans, null and tags.
//
// The reader is made for foreign bytes. It walks the input once, never
// allocates more than the input is long, follows nesting only to MaxDepth and
// checks every length against what is left. It does not build a tree: each
// decoder asks for what it expects and learns at once when something else is
// there. Byte strings alias the input.
//
// There is no state shared between readers and nothing to close.
package cbor
