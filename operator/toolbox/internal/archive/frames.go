package archive

import (
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"
)

const (
	// frameSize is how much goes into a frame, and so how far back what repeats is found (docs/decisions/0109).
	frameSize = 3 << 20
	window    = 4 << 20 // a power of two that has room for it
	// maxPackers bounds memory: each has a frame, what it is packed to, and a copy of the frame to look back in.
	maxPackers = 2
)

// frames compresses what is written to it, frame by frame, some at once, and writes them in their order. A frame knows of
// no other, so how many are compressed at once does not show in the result.
//
// It has one user, who closes it, and then no more.
type frames struct {
	target  io.Writer
	encoder *zstd.Encoder
	filling []byte        // the next frame, so far
	empty   chan []byte   // memory for frames; nil where there has been no need yet
	packers chan []byte   // who has one compresses; it is the memory to pack into
	turn    chan struct{} // is closed when the last frame that was begun has been written
	working sync.WaitGroup

	mutex  sync.Mutex
	failed error // of the target, the first
}

func compressed(target io.Writer) (*frames, error) {
	count := min(maxPackers, workers())
	encoder, err := zstd.NewWriter(nil,
		zstd.WithEncoderLevel(zstd.SpeedFastest),
		zstd.WithWindowSize(window),
		zstd.WithLowerEncoderMem(true),
		zstd.WithEncoderConcurrency(count))
	if err != nil {
		return nil, err
	}
	f := &frames{
		target: target, encoder: encoder,
		// One more than can be compressed at once, so that there is always one to fill.
		empty: make(chan []byte, count+1), packers: make(chan []byte, count), turn: make(chan struct{}),
	}
	close(f.turn)
	for range cap(f.empty) {
		f.empty <- nil
	}
	for range cap(f.packers) {
		f.packers <- nil
	}
	return f, nil
}

// room is memory to read into, of what is to be written next: filled says how much of it was. It is never empty.
func (f *frames) room() []byte {
	if f.filling == nil {
		if f.filling = <-f.empty; f.filling == nil {
			f.filling = make([]byte, 0, frameSize)
		}
	}
	return f.filling[len(f.filling):cap(f.filling)]
}

func (f *frames) filled(count int) error {
	f.filling = f.filling[:len(f.filling)+count]
	if len(f.filling) < cap(f.filling) {
		return nil
	}
	return f.send()
}

func (f *frames) Write(data []byte) (int, error) {
	written := 0
	for written < len(data) {
		count := copy(f.room(), data[written:])
		if err := f.filled(count); err != nil {
			return written, err
		}
		written += count
	}
	return written, nil
}

// ReadFrom takes over what a reader has; between it and the frame is no other memory.
func (f *frames) ReadFrom(source io.Reader) (int64, error) {
	var read int64
	for {
		count, err := source.Read(f.room())
		read += int64(count)
		if sent := f.filled(count); sent != nil {
			return read, sent
		}
		switch err {
		case nil:
		case io.EOF:
			return read, nil
		default:
			return read, err
		}
	}
}

// send has a packer compress what there is.
func (f *frames) send() error {
	if err := f.failure(); err != nil {
		return err
	}
	data, turn, next := f.filling, f.turn, make(chan struct{})
	f.filling, f.turn = nil, next
	memory := <-f.packers
	f.working.Go(func() {
		if memory == nil {
			memory = make([]byte, 0, f.encoder.MaxEncodedSize(frameSize))
		}
		packed := f.encoder.EncodeAll(data, memory[:0])
		f.empty <- data[:0]
		<-turn
		if f.failure() == nil {
			_, err := f.target.Write(packed)
			f.fail(err)
		}
		close(next)
		f.packers <- packed
	})
	return nil
}

func (f *frames) failure() error {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	return f.failed
}

func (f *frames) fail(err error) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.failed = err
}

// Close writes what is left, and says whether all has been written. A second time does no harm.
func (f *frames) Close() error {
	if len(f.filling) > 0 {
		if err := f.send(); err != nil {
			return err
		}
	}
	f.working.Wait()
	return f.failure()
}
