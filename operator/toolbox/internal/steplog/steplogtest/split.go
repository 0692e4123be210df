// Package steplogtest reads a task's log for tests, by the rules of docs/internals/toolbox.md and by nothing else: it
// knows the whole log and keeps it in memory, where the operator's reader does neither.
package steplogtest

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Log is a log taken apart.
type Log struct {
	Nonce string
	// Output is each stream's own bytes; the streams are "setup" and the steps' numbers.
	Output map[string][]byte
	// Markers are the fields of each, in order, without the nonce.
	Markers [][]string
}

var (
	head    = regexp.MustCompile(`\A\[runabout ([0-9a-f]{32}) v1 `)
	returns = regexp.MustCompile("(\r\x7f*)\x7f\n")
)

// Read takes a log apart. It is an error if a marker's offset is not what was counted.
func Read(text []byte) (*Log, error) {
	found := head.FindSubmatch(text)
	if found == nil {
		return nil, fmt.Errorf("the log does not begin with a marker: %.80q", text)
	}
	log := &Log{Nonce: string(found[1]), Output: map[string][]byte{}}
	prefix := []byte("[runabout " + log.Nonce)
	stream := "setup"
	var held []byte
	for len(text) > 0 {
		line, rest, complete := bytes.Cut(text, []byte("\n"))
		text = rest
		if fields, inserted, ok := marker(line, prefix); ok && complete {
			if inserted {
				if !bytes.HasSuffix(held, []byte("\n")) {
					return nil, fmt.Errorf("nothing was inserted before %q", line)
				}
				held = unescaped(held, prefix)
				held = held[:len(held)-1]
			} else {
				held = unescaped(held, prefix)
			}
			log.Output[stream] = append(log.Output[stream], held...)
			held = nil
			log.Markers = append(log.Markers, fields)
			switch fields[0] {
			case "begin":
				stream = fields[1]
			case "at", "end":
				if fields[1] != stream || fields[2] != strconv.Itoa(len(log.Output[stream])) {
					return nil, fmt.Errorf("%q comes after %d bytes of %s", line, len(log.Output[stream]), stream)
				}
			}
			continue
		}
		held = append(held, line...)
		if complete {
			held = append(held, '\n')
		}
	}
	if len(held) > 0 {
		return nil, fmt.Errorf("%d bytes follow after the last marker: %.80q", len(held), held)
	}
	return log, nil
}

// Find is the first marker with these first fields, nil if there is none.
func (l *Log) Find(fields ...string) []string {
	for _, candidate := range l.Markers {
		if len(candidate) >= len(fields) && strings.Join(candidate[:len(fields)], " ") == strings.Join(fields, " ") {
			return candidate
		}
	}
	return nil
}

func marker(line, prefix []byte) (fields []string, inserted, ok bool) {
	rest, ok := bytes.CutPrefix(line, prefix)
	if !ok {
		return nil, false, false
	}
	rest, inserted = bytes.CutPrefix(rest, []byte("+"))
	rest, blank := bytes.CutPrefix(rest, []byte(" "))
	rest, bracket := bytes.CutSuffix(rest, []byte("]"))
	return strings.Split(string(rest), " "), inserted, blank && bracket
}

func unescaped(text, prefix []byte) []byte {
	text = bytes.ReplaceAll(text, append(bytes.Clone(prefix), 0x7f), prefix)
	return returns.ReplaceAll(text, []byte("$1\n"))
}
