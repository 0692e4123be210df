// Package results reads what a step hands on to the tasks that depend on its own, and fills in what was handed on.
//
// What always holds: what is accepted fits a variable of the environment and the bounds of docs/internals/toolbox.md; a
// line that is not accepted is named by its number.
package results

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"strings"
	"syscall"
	"unicode/utf8"
)

const (
	// MaxValue bounds one value, in bytes.
	MaxValue = 4 << 10
	// MaxTotal bounds all keys and values of a task, in bytes.
	MaxTotal = 32 << 10
	// maxFile bounds what is read: a step may set a key many times.
	maxFile = 1 << 20
)

var (
	key       = regexp.MustCompile(`\A[A-Za-z_][A-Za-z0-9_]*\z`)
	reference = regexp.MustCompile(`\{\{\s*tasks\.([a-z0-9-]+)\.results\.([A-Za-z_][A-Za-z0-9_]*)\s*\}\}`)
)

// Read reads a step's file. What is no plain file any more, and what leads elsewhere, is an error; none is empty.
func Read(path string) (map[string]string, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(errors.New("it is no file any more"), err)
	}
	text, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("it is longer than %d bytes", maxFile)
	}
	return Parse(text)
}

// Parse understands lines KEY=VALUE; of a key that comes twice the last one counts. Empty lines are passed over.
func Parse(text []byte) (map[string]string, error) {
	found := map[string]string{}
	number := 0
	for len(text) > 0 {
		line, rest, _ := bytes.Cut(text, []byte("\n"))
		text = rest
		number++
		line = bytes.TrimSuffix(line, []byte("\r"))
		if len(line) == 0 {
			continue
		}
		name, value, separated := strings.Cut(string(line), "=")
		switch {
		case !separated:
			return nil, fmt.Errorf("line %d is not KEY=VALUE", number)
		case !key.MatchString(name):
			return nil, fmt.Errorf("line %d: the key is not made of letters, digits and _, or begins with a digit", number)
		case len(value) > MaxValue:
			return nil, fmt.Errorf("line %d: the value of %s has %d bytes, at most %d are possible", number, name, len(value), MaxValue)
		case !utf8.ValidString(value) || strings.ContainsRune(value, 0):
			return nil, fmt.Errorf("line %d: the value of %s is no text in UTF-8", number, name)
		}
		found[name] = value
	}
	return found, nil
}

// Merge lays new results over earlier ones of the task.
func Merge(earlier, later map[string]string) (map[string]string, error) {
	merged := maps.Clone(earlier)
	if merged == nil {
		merged = map[string]string{}
	}
	maps.Copy(merged, later)
	total := 0
	for name, value := range merged {
		total += len(name) + len(value)
	}
	if total > MaxTotal {
		return nil, fmt.Errorf("keys and values of the task have %d bytes together, at most %d are possible", total, MaxTotal)
	}
	return merged, nil
}

// Fill replaces the references {{ tasks.NAME.results.KEY }} in a text by what value returns.
func Fill(text string, value func(task, key string) string) string {
	return reference.ReplaceAllStringFunc(text, func(whole string) string {
		parts := reference.FindStringSubmatch(whole)
		return value(parts[1], parts[2])
	})
}
