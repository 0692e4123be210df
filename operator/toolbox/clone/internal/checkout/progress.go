package checkout

import (
	"bytes"
	"io"
	"strings"
	"time"
	"unicode"
)

const (
	// maxProgress is how many lines of one server are passed on: what it says is its own choice.
	maxProgress = 30
	longestLine = 200
	// often is how far two lines of one that grows ("Counting objects: 12 %") are apart.
	often = 5 * time.Second
)

// progress passes on what a server says of its work: whole lines, and now and then one that is written over and over.
type progress struct {
	output io.Writer
	line   []byte
	lines  int
	last   time.Time
}

// Write takes any piece of what the server says.
func (p *progress) Write(text []byte) (int, error) {
	for rest := text; len(rest) > 0; {
		end := bytes.IndexAny(rest, "\r\n")
		if end < 0 {
			p.add(rest)
			break
		}
		p.add(rest[:end])
		p.pass(rest[end] == '\n')
		rest = rest[end+1:]
	}
	return len(text), nil
}

func (p *progress) add(text []byte) {
	p.line = append(p.line, text[:min(len(text), max(0, longestLine-len(p.line)))]...)
}

func (p *progress) pass(final bool) {
	line := printable(string(p.line))
	p.line = p.line[:0]
	if line == "" || p.lines >= maxProgress || !final && time.Since(p.last) < often {
		return
	}
	p.lines++
	p.last = time.Now()
	say(p.output, "remote: %s", line)
}

// printable is a text from somebody else as one line that no terminal obeys.
func printable(text string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return -1
	}, text[:min(len(text), longestLine)]))
}
