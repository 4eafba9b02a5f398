package wasm

import (
	"bytes"
	"fmt"
)

// grain is the unit in which memory is compared and copied: large enough for
// the comparison to run at memory speed, small enough not to copy much around a
// single changed word.
const grain = 4096

// Image is the committed state of an instance: memory and mutable globals.
//
// Commit takes over what a message changed, Restore undoes it; both find the
// changes by comparing the two memories, some 0.1 ms for 3 MB. Any number of
// instances of one module can be restored from the same image. An Image has no
// lock: Commit must exclude Restore, Restores may run side by side.
type Image struct {
	memory  []byte
	globals []uint64
}

// Commit takes the state of the instance over and returns how many bytes had changed, in whole grains.
func (im *Image) Commit(from Instance) int {
	src := from.Memory()
	if len(im.memory) > len(src) {
		im.memory = im.memory[:len(src)]
	}
	n := copyChanged(im.memory, src[:len(im.memory)])
	if grown := src[len(im.memory):]; len(grown) > 0 {
		im.memory = append(im.memory, grown...)
		n += len(grown)
	}
	im.globals = from.Globals(im.globals[:0])
	return n
}

// Restore gives the instance the committed state and returns how many bytes had differed, in whole grains.
func (im *Image) Restore(to Instance) (int, error) {
	if err := to.Resize(uint64(len(im.memory)) / PageSize); err != nil {
		return 0, fmt.Errorf("restore memory: %w", err)
	}
	to.SetGlobals(im.globals)
	return copyChanged(to.Memory(), im.memory), nil
}

// Size is the length of the committed memory in bytes.
func (im *Image) Size() int { return len(im.memory) }

// copyChanged makes dst equal to src, of the same length, and touches only the grains that differ.
func copyChanged(dst, src []byte) int {
	n := 0
	for off := 0; off < len(src); off += grain {
		end := min(off+grain, len(src))
		if s, d := src[off:end:end], dst[off:end:end]; !bytes.Equal(s, d) {
			n += copy(d, s)
		}
	}
	return n
}

// RestoreMemory gives an instance, perhaps of another module, the committed memory but not the globals.
func (im *Image) RestoreMemory(to Instance) error {
	if err := to.Resize(uint64(len(im.memory)) / PageSize); err != nil {
		return fmt.Errorf("restore memory: %w", err)
	}
	copyChanged(to.Memory(), im.memory)
	return nil
}
