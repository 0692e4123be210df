package archive

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// selection says which names below a folder are meant.
type selection []pattern

type pattern struct {
	text    string
	take    bool // or take away
	literal bool // without special characters: also means everything in the folder of that name
}

// newSelection reads patterns: the last one that fits a name decides.
func newSelection(paths []string) (selection, error) {
	var result selection
	for i, text := range paths {
		one := pattern{text: text, take: true}
		if rest, found := strings.CutPrefix(text, "!"); found {
			one.text, one.take = rest, false
		}
		switch {
		case one.text == "" || strings.ContainsRune(one.text, 0):
			return nil, fmt.Errorf("paths[%d]: %q is no pattern", i, text)
		case strings.HasPrefix(one.text, "/") || one.text == "~" || strings.HasPrefix(one.text, "~/"):
			return nil, fmt.Errorf("paths[%d]: %q is not relative to sourceDir; set sourceDir to the folder", i, text)
		}
		one.text = path.Clean(one.text)
		if one.text == ".." || strings.HasPrefix(one.text, "../") {
			return nil, fmt.Errorf("paths[%d]: %q leads out of sourceDir; set sourceDir to the folder", i, text)
		}
		if !doublestar.ValidatePattern(one.text) {
			return nil, fmt.Errorf("paths[%d]: %q is no valid pattern: a bracket or a brace is not closed", i, text)
		}
		one.literal = !strings.ContainsAny(one.text, `*?[{\`)
		result = append(result, one)
	}
	return result, nil
}

// takes says whether a name, relative to the folder, is meant.
func (s selection) takes(name string) bool {
	for i := len(s) - 1; i >= 0; i-- {
		if s[i].fits(name) {
			return s[i].take
		}
	}
	return false
}

// excludes says that neither a folder nor anything in it can be meant.
func (s selection) excludes(folder string) bool {
	for i := len(s) - 1; i >= 0; i-- {
		one := s[i]
		if one.take {
			return false
		}
		if (one.literal || strings.HasSuffix(one.text, "/**") || one.text == "**") && one.fits(folder) {
			return true
		}
	}
	return false
}

// bases are the folders that can have what is meant, none below another.
func (s selection) bases() []string {
	var found []string
	for _, one := range s {
		switch {
		case !one.take:
		case one.literal:
			found = append(found, one.text)
		default:
			base, _ := doublestar.SplitPattern(one.text)
			found = append(found, base)
		}
	}
	slices.Sort(found)
	var result []string
	for _, base := range found {
		if !slices.ContainsFunc(result, func(other string) bool { return within(base, other) }) {
			result = append(result, base)
		}
	}
	return result
}

func (p pattern) fits(name string) bool {
	if p.literal {
		return within(name, p.text)
	}
	return doublestar.MatchUnvalidated(p.text, name)
}

// within says whether a name is a folder or something in it.
func within(name, folder string) bool {
	return folder == "." || name == folder || strings.HasPrefix(name, folder) && name[len(folder)] == '/'
}
