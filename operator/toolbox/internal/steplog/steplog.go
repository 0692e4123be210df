// Package steplog writes the output of a task's steps as one log from which each step's exact bytes can be recovered.
//
// What always holds: only a marker begins with the log's prefix followed by a blank or a plus sign; a marker is a line of
// its own; no line is longer than MaxLine; no more than MarkEvery bytes of output lie between two markers; no newline is
// preceded by a carriage return. The rules are those of docs/internals/toolbox.md, section Log.
package steplog

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"strconv"

	"runabout.dev/toolbox/internal/mask"
)

const (
	// MarkEvery is the most output between two markers, in bytes.
	MarkEvery = 64 << 10
	// MaxLine is the longest line, without its newline. Container runtimes cut lines at 16 KiB.
	MaxLine = 16_000

	// markFrom is when the end of a line becomes a good place for a marker: one more line always fits.
	markFrom = MarkEvery - MaxLine
	// lineBudget is how much output goes to one line. Escapes can make the line longer, by less than the rest up to
	// MaxLine: at most one byte for each prefix (42 bytes) and one for the line's end.
	lineBudget = 15_500
	// escape is invisible on terminals, valid UTF-8 and, unlike NUL, text to every tool.
	escape = 0x7f

	maxName = 63
	// setup is the stream's name before the first step.
	setup = "setup"
)

// Log is the writer. It is not safe for concurrent use.
type Log struct {
	out    io.Writer
	prefix []byte // "[runabout NONCE"
	buffer []byte // what the current call writes, in one go
	err    error  // the first failure to write; output is counted and dropped from then on

	copied Copied // nil: nobody wants it

	step   int     // the current step; -1 in the setup
	offset int64   // bytes of the step so far
	sizes  []int64 // of the setup and the steps that have ended
	since  int     // bytes of the step since the last marker
	line   int     // bytes of the current line, as output
	cr     bool    // the line ends with CR and any number of escapes
	match  int     // so many bytes of the prefix are the last output

	secrets *mask.Mask   // nil: nothing is masked
	masking *mask.Stream // of the current step's output
	masked  []byte       // what masking made of the current call's
}

// Copied gets output as it is counted: of a step (-1: the setup), from an offset on. It may not keep the bytes.
type Copied func(step int, offset int64, data []byte)

// NewNonce draws what nobody in the container can guess.
func NewNonce() (string, error) {
	var random [16]byte
	if _, err := rand.Read(random[:]); err != nil {
		return "", fmt.Errorf("no random bytes from the kernel: %w", err)
	}
	return hex.EncodeToString(random[:]), nil
}

// New begins a log with its first line; what is written before the first Begin is the setup.
func New(out io.Writer, nonce, run, task string, attempt int) *Log {
	l := &Log{out: out, prefix: []byte("[runabout " + nonce), step: -1}
	l.marker("v1", plain(run), plain(task), strconv.Itoa(attempt))
	l.flush()
	return l
}

// Begin begins a step; the setup or the step before it must have been ended.
func (l *Log) Begin(step int, name string, milliseconds int64) {
	l.step, l.offset, l.since = step, 0, 0
	l.marker("begin", l.stream(), strconv.FormatInt(milliseconds, 10), l.sizeList(), plain(name))
	l.flush()
}

// Hide masks secrets, nil for none, in everything from now on but names; offsets and sizes are those of what is left. What
// is the beginning of a secret is held back until more output, a notice or the step's end shows whether it is one.
func (l *Log) Hide(secrets *mask.Mask) {
	l.secrets = secrets
	if secrets != nil {
		l.masking = secrets.Stream()
	}
}

// Copy has all output from now on given to somebody else too; what came before belongs to the setup.
func (l *Log) Copy(copied Copied) { l.copied = copied }

// Write adds output of the current step. It never fails: see Err.
func (l *Log) Write(p []byte) (int, error) {
	if l.secrets == nil {
		l.add(p)
	} else {
		l.masked = l.masking.Add(l.masked[:0], p)
		l.add(l.masked)
	}
	l.flush()
	return len(p), nil
}

// rest adds what masking holds back.
func (l *Log) rest() {
	if l.secrets != nil {
		l.masked = l.masking.Rest(l.masked[:0])
		l.add(l.masked)
	}
}

// Notice adds a line of the toolbox itself to the current step's output.
func (l *Log) Notice(text string) {
	l.rest()
	if l.line > 0 {
		l.add([]byte{'\n'})
	}
	l.add([]byte("[runabout: " + l.secrets.Text(text) + "]\n"))
	l.flush()
}

// End ends the current step, or the setup, and returns how many bytes it has.
func (l *Log) End(state string, exitCode int, milliseconds int64) int64 {
	l.rest()
	l.marker("end", l.stream(), strconv.FormatInt(l.offset, 10), state,
		strconv.Itoa(exitCode), strconv.FormatInt(milliseconds, 10))
	l.sizes = append(l.sizes, l.offset)
	l.flush()
	return l.offset
}

// Done ends the log.
func (l *Log) Done(exitCode int, reason string) {
	l.marker("done", strconv.Itoa(exitCode), reason, l.sizeList())
	l.flush()
}

// Err is the first failure to write, if there was one.
func (l *Log) Err() error { return l.err }

// stream is what markers call the current step, or the setup.
func (l *Log) stream() string {
	if l.step < 0 {
		return setup
	}
	return strconv.Itoa(l.step)
}

func (l *Log) add(p []byte) {
	for len(p) > 0 {
		piece := p[:min(len(p), lineBudget-l.line)]
		if last := bytes.LastIndexByte(piece, '\n'); last >= 0 {
			piece = piece[:last+1]
		}
		l.encode(piece)
		p = p[len(piece):]
		if l.line >= lineBudget || l.line == 0 && l.since >= markFrom {
			l.marker("at", l.stream(), strconv.FormatInt(l.offset, 10))
		}
	}
}

// encode adds output that either ends with its only relevant newline at the end or has none at all.
func (l *Log) encode(p []byte) {
	if l.copied != nil {
		l.copied(l.step, l.offset, p)
	}
	l.offset += int64(len(p))
	l.since += len(p)
	if l.cr || l.match > 0 || bytes.IndexByte(p, '\r') >= 0 || bytes.Contains(p, l.prefix) {
		l.encodeBytes(p)
	} else {
		l.buffer = append(l.buffer, p...)
		l.match = l.matchAtEnd(p)
	}
	if p[len(p)-1] == '\n' {
		l.line = 0
	} else {
		l.line += len(p)
	}
}

func (l *Log) encodeBytes(p []byte) {
	for _, b := range p {
		if b == '\n' && l.cr {
			l.buffer = append(l.buffer, escape)
		}
		l.buffer = append(l.buffer, b)
		l.cr = b == '\r' || l.cr && b == escape
		switch b {
		case l.prefix[l.match]:
			l.match++
		case l.prefix[0]: // the only place of this byte in the prefix, so nothing shorter can match
			l.match = 1
		default:
			l.match = 0
		}
		if l.match == len(l.prefix) {
			l.buffer = append(l.buffer, escape)
			l.match = 0
		}
	}
}

// matchAtEnd says how much of the prefix p ends with; p does not contain all of it.
func (l *Log) matchAtEnd(p []byte) int {
	end := p[max(0, len(p)-len(l.prefix)):]
	start := bytes.LastIndexByte(end, l.prefix[0])
	if start >= 0 && bytes.HasPrefix(l.prefix, end[start:]) {
		return len(end) - start
	}
	return 0
}

func (l *Log) marker(fields ...string) {
	inserted := l.line > 0
	if inserted {
		if l.cr {
			l.buffer = append(l.buffer, escape)
		}
		l.buffer = append(l.buffer, '\n')
	}
	l.buffer = append(l.buffer, l.prefix...)
	if inserted {
		l.buffer = append(l.buffer, '+')
	}
	for _, field := range fields {
		l.buffer = append(l.buffer, ' ')
		l.buffer = append(l.buffer, field...)
	}
	l.buffer = append(l.buffer, ']', '\n')
	l.since, l.line, l.cr, l.match = 0, 0, false, 0
}

func (l *Log) flush() {
	if len(l.buffer) > 0 && l.err == nil {
		_, l.err = l.out.Write(l.buffer)
	}
	l.buffer = l.buffer[:0]
}

func (l *Log) sizeList() string {
	var list []byte
	for i, size := range l.sizes {
		if i > 0 {
			list = append(list, ',')
		}
		list = strconv.AppendInt(list, size, 10)
	}
	return string(list)
}

// plain is a name that can stand in a marker.
func plain(name string) string {
	result := []byte(name)
	if len(result) > maxName {
		result = result[:maxName]
	}
	for i, b := range result {
		switch {
		case b >= '0' && b <= '9', b >= 'A' && b <= 'Z', b >= 'a' && b <= 'z', b == '.', b == '_', b == '-':
		default:
			result[i] = '_'
		}
	}
	if len(result) == 0 {
		return "_"
	}
	return string(result)
}
