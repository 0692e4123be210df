package archive

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
)

// lines are texts that repeat in them what came far before.
func lines(size int) []byte {
	random := rand.New(rand.NewPCG(3, 4))
	var result bytes.Buffer
	for result.Len() < size {
		fmt.Fprintf(&result, "line %d of what is here\n", random.IntN(1<<20))
	}
	return result.Bytes()[:size]
}

func framed(t *testing.T, data []byte) []byte {
	t.Helper()
	var target bytes.Buffer
	stream, err := compressed(&target)
	if err != nil {
		t.Fatal(err)
	}
	half := len(data) / 2
	if n, err := stream.Write(data[:half]); n != half || err != nil {
		t.Fatalf("%d of %d, %v", n, half, err)
	}
	if n, err := stream.ReadFrom(iotest.HalfReader(bytes.NewReader(data[half:]))); n != int64(len(data)-half) || err != nil {
		t.Fatalf("%d of %d, %v", n, len(data)-half, err)
	}
	if err := errors.Join(stream.Close(), stream.Close()); err != nil {
		t.Fatal(err)
	}
	return target.Bytes()
}

func TestFramesKeepTheirOrderAndContentWhateverTheSize(t *testing.T) {
	for _, size := range []int{0, 1, 2, frameSize - 1, frameSize, frameSize + 1, 2 * frameSize, 2*frameSize + 2, 7*frameSize + 5} {
		data := lines(size)
		stream, err := decompressed(bytes.NewReader(framed(t, data)))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(stream); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes came back as %d others, %v", size, len(got), err)
		}
		stream.Close()
	}
}

func TestHowManyCompressDoesNotShowInAnArchive(t *testing.T) {
	data := lines(5*frameSize + 7)
	together := framed(t, data)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	if !bytes.Equal(framed(t, data), together) {
		t.Error("one alone makes other bytes of the same")
	}
}

// full takes some bytes and then no more.
type full struct{ left int }

var errFull = errors.New("it is full")

func (f *full) Write(data []byte) (int, error) {
	if f.left -= len(data); f.left < 0 {
		return 0, errFull
	}
	return len(data), nil
}

func TestATargetThatTakesNoMoreEndsTheWriting(t *testing.T) {
	endless := strings.NewReader(strings.Repeat("x", 100*frameSize))
	stream, err := compressed(&full{left: 1000}) // a frame of x is shorter than this, ten are not
	if err != nil {
		t.Fatal(err)
	}
	if read, err := stream.ReadFrom(endless); !errors.Is(err, errFull) || read == endless.Size() {
		t.Errorf("%d bytes were read, %v", read, err)
	}
	if err := stream.Close(); !errors.Is(err, errFull) {
		t.Errorf("at the end: %v", err)
	}
}
