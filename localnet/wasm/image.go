package wasm

import (
	"bytes"
	"fmt"
	"unsafe"
)

// grain is the unit in which memory is compared and copied: large enough for
// the comparison to run at memory speed, small enough not to copy much around a
// single changed word.
const grain = 1 << grainBits

// Image is the committed state of an instance: memory and mutable globals.
//
// Commit takes over what a message changed, Restore undoes it. Both find the
// changes by comparing the two memories, some 0.1 ms for 3 MB, or where the
// instance marks what it writes by looking at what is marked, and at what was
// committed since the instance was last equal to the image. Any number of
// instances of one module can be restored from the same image. An Image has no
// lock: Commit must exclude Restore, Restores may run side by side. It must not be copied.
type Image struct {
	memory  []byte
	globals []uint64

	// For instances that mark: the number of commits, and for each grain the one
	// that changed it last. Grains that changed before there were such instances read 0.
	version uint64
	changed []uint64
}

// marking is an instance that marks what it writes.
type marking interface {
	// cards has a byte for each grain of the memory, and more, that is set when a
	// write began in the grain; nil: it does not mark after all.
	cards() []byte
	// equal is where the owner of an image notes when the instance was last equal to it.
	equal() *equality
}

// equality says that an instance was equal to a version of an image, when its cards were cleared.
type equality struct {
	image   *Image
	version uint64
}

// marked returns the cards of the instance if they and the versions tell all
// that may differ from the image.
func (im *Image) marked(i Instance) (marking, []byte) {
	m, ok := i.(marking)
	if !ok {
		return nil, nil
	}
	cards := m.cards()
	if cards == nil {
		return nil, nil
	}
	if m.equal().image != im {
		return m, nil
	}
	return m, cards
}

// settle notes that the instance is equal to the image now. Cards behind the
// memory in use may stay: pages get there by growing or by another's commit only,
// and both are looked at anyway.
func (im *Image) settle(m marking) {
	if m != nil {
		cards := m.cards()
		clear(cards[:min(len(cards), len(im.memory)/grain+1)])
		*m.equal() = equality{im, im.version}
	}
}

// DirtyPages is how many pages of 4096 bytes an instance has written to since it
// was last equal to an image, 0 if it does not mark what it writes.
func DirtyPages(i Instance) int {
	m, ok := i.(marking)
	if !ok {
		return 0
	}
	cards := m.cards()
	return bytes.Count(cards[:min(len(cards), len(i.Memory())/grain)], []byte{1})
}

// Commit takes the state of the instance over and returns how many bytes had changed, in whole grains.
func (im *Image) Commit(from Instance) int {
	src := from.Memory()
	if len(im.memory) > len(src) {
		im.memory = im.memory[:len(src)]
	}
	m, cards := im.marked(from)
	if cards != nil && m.equal().version != im.version {
		cards = nil // somebody else has committed since
	}
	im.version++
	if more := len(src)/grain - len(im.changed); m != nil && more > 0 {
		im.changed = append(im.changed, make([]uint64, more)...)
	}
	note := func(g int) {
		if m != nil {
			im.changed[g] = im.version
		}
	}
	old := len(im.memory)
	n := copyChanged(im.memory, src[:old], cards, nil, 0, note)
	if grown := src[old:]; len(grown) > 0 {
		im.memory = append(im.memory, grown...)
		n += len(grown)
		for g := old / grain; g < len(src)/grain; g++ {
			note(g)
		}
	}
	im.globals = from.Globals(im.globals[:0])
	im.settle(m)
	return n
}

// Restore gives the instance the committed state and returns how many bytes had differed, in whole grains.
func (im *Image) Restore(to Instance) (int, error) {
	m, cards := im.marked(to)
	if err := to.Resize(uint64(len(im.memory)) / PageSize); err != nil {
		return 0, fmt.Errorf("restore memory: %w", err)
	}
	to.SetGlobals(im.globals)
	changed, since := im.changed, uint64(0)
	if cards != nil {
		if since = m.equal().version; since == im.version {
			changed = nil // nothing has since
		}
	}
	n := copyChanged(to.Memory(), im.memory, cards, changed, since, func(int) {})
	im.settle(m)
	return n, nil
}

// RestoreMemory gives an instance of another module the committed memory but not
// the globals, see MoveMemory.
func (im *Image) RestoreMemory(to Instance) error { return setMemory(to, im.memory) }

// MoveMemory gives an instance of another module the memory that an instance
// has, but not the globals. A memory that is larger already keeps its size, but not its content.
func MoveMemory(to, from Instance) error { return setMemory(to, from.Memory()) }

func setMemory(to Instance, content []byte) error {
	if len(content) > len(to.Memory()) {
		if err := to.Resize(uint64(len(content)) / PageSize); err != nil {
			return fmt.Errorf("take memory over: %w", err)
		}
	}
	if m, ok := to.(marking); ok {
		*m.equal() = equality{}
	}
	memory := to.Memory()
	clear(memory[copy(memory, content):])
	return nil
}

// Size is the length of the committed memory in bytes.
func (im *Image) Size() int { return len(im.memory) }

// copyChanged makes dst equal to src, of the same length, touches only the
// grains that differ, and tells note which. With cards it looks only where a
// card is set and at grains that changed after since.
func copyChanged(dst, src, cards []byte, changed []uint64, since uint64, note func(g int)) int {
	n := 0
	for off := 0; off < len(src); off += grain {
		g := off / grain
		end := min(off+grain, len(src))
		if cards != nil && cards[g] == 0 && (g >= len(changed) || changed[g] <= since) {
			if g == 0 || cards[g-1] == 0 {
				if len(changed) == 0 { // the next that is set
					next := bytes.IndexByte(cards[g:(len(src)+grain-1)/grain], 1)
					if next < 0 {
						break
					}
					off = (g + next - 1) * grain
				}
				continue
			}
			end = min(off+spill, end) // what began in the grain before may end here
		}
		if s, d := src[off:end:end], dst[off:end:end]; !same(s, d) {
			n += copy(d, s)
			note(g)
		}
	}
	return n
}

// same is bytes.Equal without the race detector, which would look up every byte
// of a canister's memory after each message: most of the time that tests with
// canisters took. What differs is copied under its eyes.
//
//go:norace
func same(a, b []byte) bool {
	return unsafe.String(unsafe.SliceData(a), len(a)) == unsafe.String(unsafe.SliceData(b), len(b)) //nolint:gosec // read at once, and not kept
}
