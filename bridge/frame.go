package bridge

import "sync"

// A frame is what is written to a client at once. Its memory is used again, but
// for what many clients get.
type frame struct {
	bytes  []byte
	shared bool
}

// maxReused is how large a frame may be whose memory is kept for another one:
// most are of one or two KiB.
const maxReused = 16 << 10

var frames = sync.Pool{New: func() any { return new(frame) }}

// newFrame returns an empty frame. It must be released, or forgotten.
func newFrame() *frame { return frames.Get().(*frame) } //nolint:forcetypeassert // nothing else is put in

// release gives the memory back after the frame was written.
func (f *frame) release() {
	if f.shared || cap(f.bytes) > maxReused {
		return
	}
	f.bytes = f.bytes[:0]
	frames.Put(f)
}
