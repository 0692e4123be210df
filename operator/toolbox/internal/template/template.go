// Package template fills in the keys of caches.
//
// The language is checked before a run starts by runabout.resources.cachekeys, which knows the same words; both read
// the same table of cases in their tests.
package template

import (
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"strings"
	"time"
	"unicode"
)

// MaxBytes bounds a key that is filled in.
const MaxBytes = 512

// Context is where the values come from.
type Context struct {
	Dir       string // working directory of the step
	Home      string
	LookupEnv func(string) (string, bool)
	Time      time.Time // the same for all keys of a task
}

// words are what can stand between braces, and whether a text follows.
var words = map[string]bool{
	"checksum": true, "env": true, "os": false, "arch": false, "year": false, "month": false, "day": false, "week": false,
}

var (
	placeholder = regexp.MustCompile(`^[ \t]*([A-Za-z0-9._-]+)[ \t]*("(?:[^"\\]|\\["\\])*")?[ \t]*\}\}`)
	escaped     = regexp.MustCompile(`\\(["\\])`)
)

const known = `checksum "FILE", env "NAME", os, arch, year, month, day, week`

// Render fills in a key.
func Render(text string, context Context) (string, error) {
	var result strings.Builder
	for {
		before, rest, found := strings.Cut(text, "{{")
		result.WriteString(before)
		if !found {
			break
		}
		word, argument, after, err := parse(rest)
		if err != nil {
			return "", err
		}
		value, err := context.value(word, argument)
		if err != nil {
			return "", err
		}
		result.WriteString(value)
		text = after
	}
	key := result.String()
	switch {
	case key == "":
		return "", errors.New("the key is empty when it is filled in")
	case len(key) > MaxBytes:
		return "", fmt.Errorf("the key has %d bytes when it is filled in, at most %d are possible", len(key), MaxBytes)
	case strings.ContainsFunc(key, unicode.IsControl):
		return "", fmt.Errorf("the key has control characters when it is filled in: %q", key)
	}
	return key, nil
}

// parse reads what stands between two pairs of braces, and gives what follows them.
func parse(text string) (word, argument, after string, err error) {
	found := placeholder.FindStringSubmatchIndex(text)
	if found == nil {
		return "", "", "", fmt.Errorf("{{%s is no placeholder: there are %s, each closed by }}", shortened(text), known)
	}
	word, after = text[found[2]:found[3]], text[found[1]:]
	takes, isKnown := words[word]
	hasText := found[4] >= 0
	switch {
	case !isKnown:
		return "", "", "", fmt.Errorf("{{ %s }} is not known: there are %s", word, known)
	case takes && !hasText:
		return "", "", "", fmt.Errorf(`{{ %s }} needs a text in double quotes, such as {{ %s "NAME" }}`, word, word)
	case !takes && hasText:
		return "", "", "", fmt.Errorf("{{ %s }} takes no text", word)
	}
	if takes {
		if argument = escaped.ReplaceAllString(text[found[4]+1:found[5]-1], "$1"); argument == "" {
			return "", "", "", fmt.Errorf(`{{ %s "" }}: the text is empty`, word)
		}
	}
	return word, argument, after, nil
}

func shortened(text string) string {
	const enough = 40
	if characters := []rune(text); len(characters) > enough {
		return string(characters[:enough]) + "…"
	}
	return text
}

func (c Context) value(word, argument string) (string, error) {
	now := c.Time.UTC()
	switch word {
	case "checksum":
		sum, err := c.checksum(argument)
		if err != nil {
			return "", fmt.Errorf("{{ checksum %q }}: %w", argument, err)
		}
		return sum, nil
	case "env":
		value, found := c.LookupEnv(argument)
		if !found {
			return "", fmt.Errorf("{{ env %q }}: the step has no such variable", argument)
		}
		return value, nil
	case "os":
		return runtime.GOOS, nil
	case "arch":
		return runtime.GOARCH, nil
	case "year":
		return now.Format("2006"), nil
	case "month":
		return now.Format("01"), nil
	case "day":
		return now.Format("02"), nil
	default: // week; with its year, which is not that of the day around New Year
		year, week := now.ISOWeek()
		return fmt.Sprintf("%04d-W%02d", year, week), nil
	}
}
