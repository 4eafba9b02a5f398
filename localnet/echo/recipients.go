package echo

import (
	"bytes"

	"github.com/icrelay/icrelay/candid"
)

// What begins like these is a variant with a text, and its tag says who gets it.
var (
	toEverybody = variantOfText("Everybody")
	toNobody    = variantOfText("Nobody")
)

// variantOfText is how the Candid of a variant that has one tag, with a text, begins.
func variantOfText(tag string) []byte {
	variant := candid.VariantOf(candid.Field{Label: tag, Type: candid.TextType})
	encoded, err := candid.NewBuilder().Add(variant, candid.Tag{Label: tag, Value: ""}).Bytes()
	if err != nil {
		panic(err) // both tags are constants
	}
	return encoded[:len(encoded)-1] // but for the length of the text
}

// answerTo sends a client's message back to it, or to whom the message names.
func (c *canister) answerTo(sender candid.ClientKey, content []byte, now uint64) {
	switch {
	case bytes.HasPrefix(content, toNobody):
	case bytes.HasPrefix(content, toEverybody):
		for key := range c.clients {
			c.send(key, content, false, now)
		}
	default:
		c.send(sender, content, false, now)
	}
}
