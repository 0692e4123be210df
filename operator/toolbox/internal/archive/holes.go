package archive

import (
	"bytes"
	"errors"
	"io"
	"os"
	"syscall"
)

const (
	seekData = 3
	seekHole = 4
	// grain is the shortest stretch of zeros that is left out when a file is written.
	grain = 32 << 10
)

var zeros [grain]byte

// holes reads a file with holes without asking the file system for their zeros.
type holes struct {
	file *os.File
	size int64 // as long as it is
	at   int64
	hole bool  // what `at` is in
	end  int64 // of the stretch that `at` is in
}

func (h *holes) Read(target []byte) (int, error) {
	if h.at >= h.size {
		return 0, io.EOF
	}
	if h.at >= h.end {
		if err := h.next(); err != nil {
			return 0, err
		}
	}
	target = target[:min(int64(len(target)), h.end-h.at)]
	if h.hole {
		clear(target)
		h.at += int64(len(target))
		return len(target), nil
	}
	n, err := h.file.ReadAt(target, h.at)
	h.at += int64(n)
	if n > 0 {
		err = nil
	}
	return n, err
}

// next finds out what comes at `at`, and how far it goes.
func (h *holes) next() error {
	start, err := h.file.Seek(h.at, seekData)
	switch {
	case errors.Is(err, syscall.ENXIO): // nothing but a hole up to the end, wherever that is by now
		info, err := h.file.Stat()
		if err != nil {
			return err
		}
		if h.hole, h.end = true, min(h.size, info.Size()); h.end <= h.at {
			return io.EOF
		}
		return nil
	case err != nil: // a file system that knows nothing of holes
		h.hole, h.end = false, h.size
		return nil
	case start > h.at:
		h.hole, h.end = true, min(start, h.size)
		return nil
	}
	end, err := h.file.Seek(h.at, seekHole)
	if err != nil {
		return err
	}
	h.hole, h.end = false, min(max(end, h.at+1), h.size)
	return nil
}

// writeSparse writes what source has, and leaves holes where it has nothing but zeros.
func writeSparse(target *os.File, source io.Reader, buffer []byte) (int64, error) {
	var written int64
	pending := false // a hole at the end, which only the length of the file says
	for {
		n, err := io.ReadFull(source, buffer)
		for rest := buffer[:n]; len(rest) > 0; {
			length, empty := stretch(rest)
			if empty {
				_, err := target.Seek(int64(length), io.SeekCurrent)
				if err != nil {
					return written, err
				}
			} else if _, err := target.Write(rest[:length]); err != nil {
				return written, err
			}
			pending = empty
			written += int64(length)
			rest = rest[length:]
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF): // the caller knows how long it should be
			if pending {
				return written, target.Truncate(written)
			}
			return written, nil
		case err != nil:
			return written, err
		}
	}
}

// stretch is how much from the beginning is alike: zeros to leave out, or something to write.
func stretch(data []byte) (length int, empty bool) {
	for length < len(data) {
		piece := data[length:min(length+grain, len(data))]
		isEmpty := len(piece) == grain && bytes.Equal(piece, zeros[:])
		if length > 0 && isEmpty != empty {
			break
		}
		empty = isEmpty
		length += len(piece)
	}
	return length, empty
}
