package steplog

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"runabout.dev/toolbox/internal/steplog/steplogtest"
)

const nonce = "0123456789abcdef0123456789abcdef"

// written is the log of one step that writes these pieces.
func written(pieces ...[]byte) []byte {
	var out bytes.Buffer
	log := New(&out, nonce, "1il7g1c000001", "build", 1)
	log.End("success", 0, 1)
	log.Begin(0, "compile", 2)
	for _, piece := range pieces {
		if n, err := log.Write(piece); n != len(piece) || err != nil {
			panic("a write to a log failed")
		}
	}
	log.End("success", 0, 3)
	log.Done(0, "Completed")
	return out.Bytes()
}

func read(t *testing.T, text []byte) *steplogtest.Log {
	t.Helper()
	log, err := steplogtest.Read(text)
	if err != nil {
		t.Fatal(err)
	}
	return log
}

// awkward is what rules 1 to 5 exist for.
var awkward = map[string][]byte{
	"nothing":                       {},
	"a line":                        []byte("one\n"),
	"no final newline":              []byte("one"),
	"only newlines":                 bytes.Repeat([]byte("\n"), 70_000),
	"carriage returns":              []byte("a\r\nb\r\x7f\nc\x7f\nd\r\r\n\r"),
	"a progress bar":                bytes.Repeat([]byte("50 %\r"), 20_000),
	"no UTF-8":                      {0xff, 0xfe, 0, '\n', 0xc3},
	"NUL":                           make([]byte, 100_000),
	"a long line":                   bytes.Repeat([]byte("x"), 200_000),
	"a marker":                      []byte("[runabout " + nonce + " at 0 7]\n"),
	"a marker that inserts":         []byte("x\n[runabout " + nonce + "+ end 0 3 success 0 5]\n"),
	"a marker without newline":      []byte("[runabout " + nonce + " done 0 Completed 1,2]"),
	"an escaped marker":             []byte("[runabout " + nonce + "\x7f at 0 7]\n"),
	"prefixes only":                 bytes.Repeat([]byte("[runabout "+nonce), 2_000),
	"a prefix and a return":         []byte("[runabout " + nonce + "\r\n"),
	"a prefix across a forced line": append(bytes.Repeat([]byte("x"), lineBudget-10), "[runabout "+nonce+" at 0 7]\n"...),
	"another log's marker":          []byte("[runabout " + strings.Repeat("f", 32) + " at 0 70]\n"),
	"a notice":                      []byte("[runabout: stopped]\n"),
}

func TestAnyOutputComesBackByteForByte(t *testing.T) {
	for name, output := range awkward {
		t.Run(name, func(t *testing.T) {
			log := read(t, written(output))
			if !bytes.Equal(log.Output["0"], output) {
				t.Errorf("got %.200q, want %.200q", log.Output["0"], output)
			}
		})
	}
}

func TestThePiecesInWhichOutputIsWrittenMakeNoDifferenceToIt(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for name, output := range awkward {
		t.Run(name, func(t *testing.T) {
			for range 5 {
				var pieces [][]byte
				for rest := output; len(rest) > 0; {
					size := 1 + random.IntN(min(len(rest), 1+random.IntN(len(rest))))
					pieces, rest = append(pieces, rest[:size]), rest[size:]
				}
				if log := read(t, written(pieces...)); !bytes.Equal(log.Output["0"], output) {
					t.Fatalf("in %d pieces: got %.200q, want %.200q", len(pieces), log.Output["0"], output)
				}
			}
		})
	}
}

func FuzzAnyOutputComesBackByteForByte(f *testing.F) {
	for _, output := range awkward {
		f.Add(output[:min(len(output), 2_000)], 7)
	}
	f.Fuzz(func(t *testing.T, output []byte, size int) {
		size = max(1, size%64)
		var pieces [][]byte
		for rest := output; len(rest) > 0; rest = rest[min(size, len(rest)):] {
			pieces = append(pieces, rest[:min(size, len(rest))])
		}
		if log := read(t, written(pieces...)); !bytes.Equal(log.Output["0"], output) {
			t.Errorf("got %q, want %q", log.Output["0"], output)
		}
	})
}

func TestNoLineIsTooLongForARuntimeAndMarkersComeOftenEnough(t *testing.T) {
	marker := []byte("[runabout " + nonce)
	for name, output := range awkward {
		t.Run(name, func(t *testing.T) {
			since := 0
			for _, line := range bytes.SplitAfter(written(output), []byte("\n")) {
				if len(line) > MaxLine+1 {
					t.Errorf("a line has %d bytes", len(line))
				}
				if since += len(line); bytes.HasPrefix(line, marker) && !bytes.HasPrefix(line[len(marker):], []byte{escape}) {
					since = 0
				}
				if since > MarkEvery+MarkEvery/8 { // as output; escapes come on top
					t.Fatalf("%d bytes without a marker", since)
				}
			}
		})
	}
}

func TestNoNewlineComesAfterACarriageReturnWhichRuntimesWouldDrop(t *testing.T) {
	for name, output := range awkward {
		if bytes.Contains(written(output), []byte("\r\n")) {
			t.Errorf("%s: a carriage return would be lost", name)
		}
	}
}

func TestMarkersSayWhatStepsAndSizes(t *testing.T) {
	text := written([]byte("one\n"), []byte("two"))
	for _, want := range []string{
		`\A\[runabout NONCE v1 1il7g1c000001 build 1\]\n`,
		`\n\[runabout NONCE end setup 0 success 0 1\]\n`,
		`\n\[runabout NONCE begin 0 2 0 compile\]\n`,
		`\none\ntwo\n\[runabout NONCE\+ end 0 7 success 0 3\]\n`,
		`\n\[runabout NONCE done 0 Completed 0,7\]\n\z`,
	} {
		if !regexp.MustCompile(strings.ReplaceAll(want, "NONCE", nonce)).Match(text) {
			t.Errorf("%s is not in\n%s", want, text)
		}
	}
}

func TestNamesCannotBreakAMarker(t *testing.T) {
	for name, want := range map[string]string{
		"":                       "_",
		"a b]\n[c":               "a_b___c",
		strings.Repeat("x", 200): strings.Repeat("x", 63),
		"ümläut":                 "__ml__ut",
	} {
		if got := plain(name); got != want {
			t.Errorf("%q becomes %q, want %q", name, got, want)
		}
	}
}

func TestANoticeIsOutputOnALineOfItsOwn(t *testing.T) {
	var out bytes.Buffer
	log := New(&out, nonce, "r", "t", 1)
	log.End("success", 0, 0)
	log.Begin(0, "s", 0)
	_, _ = log.Write([]byte("half"))
	log.Notice("stopped")
	size := log.End("stopped", 143, 0)
	log.Done(143, "Stopped")
	want := "half\n[runabout: stopped]\n"
	if got := string(read(t, out.Bytes()).Output["0"]); got != want || size != int64(len(want)) {
		t.Errorf("got %q of %d bytes", got, size)
	}
}

type brokenPipe struct{ writes int }

func (b *brokenPipe) Write([]byte) (int, error) {
	b.writes++
	return 0, errors.New("nobody reads")
}

func TestALogThatNobodyReadsIsCountedOn(t *testing.T) {
	out := &brokenPipe{}
	log := New(out, nonce, "r", "t", 1)
	log.Begin(0, "s", 0)
	n, err := log.Write([]byte("one\n"))
	if n != 4 || err != nil || log.Err() == nil || out.writes != 1 {
		t.Errorf("wrote %d (%v), failure %v after %d writes", n, err, log.Err(), out.writes)
	}
	if size := log.End("success", 0, 0); size != 4 {
		t.Errorf("counted %d bytes", size)
	}
}

func TestNoncesAreLongAndNeverTheSame(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		drawn, err := NewNonce()
		if err != nil || !regexp.MustCompile(`^[0-9a-f]{32}$`).MatchString(drawn) || seen[drawn] {
			t.Fatalf("drew %q (%v)", drawn, err)
		}
		seen[drawn] = true
	}
}

func BenchmarkWrite(b *testing.B) {
	for name, line := range map[string]string{
		"lines": strings.Repeat("a line of the usual length, which is not very long\n", 1300),
		"bars":  strings.Repeat("50 %\r", 13_000),
	} {
		b.Run(name, func(b *testing.B) {
			log := New(&bytes.Buffer{}, nonce, "r", "t", 1)
			log.out = discard{}
			b.SetBytes(int64(len(line)))
			for range b.N {
				fmt.Fprint(log, line)
			}
		})
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
