package archive

import (
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Which folders are looked into is a matter of speed only: exactly the names that the patterns mean are packed.
func TestWhatIsNotLookedIntoHasNothingThatIsMeant(t *testing.T) {
	words := []string{"a", "b", "a.o", "x y"}
	pieces := append([]string{"*", "**", "?", "{a,b}", "[ab]", "*.o"}, words...)
	random := rand.New(rand.NewPCG(3, 4))
	root := t.TempDir()
	for range 60 {
		name := ""
		for range 1 + random.IntN(4) {
			name = path.Join(name, words[random.IntN(len(words))])
		}
		if mayBeMade(root, name) {
			write(t, filepath.Join(root, name), "", 0o644)
		}
	}
	var every []string
	_ = fs.WalkDir(os.DirFS(root), ".", func(name string, _ fs.DirEntry, _ error) error {
		if name != "." {
			every = append(every, name)
		}
		return nil
	})
	for range 500 {
		var patterns []string
		for range 1 + random.IntN(4) {
			text := ""
			for range 1 + random.IntN(3) {
				text = path.Join(text, pieces[random.IntN(len(pieces))])
			}
			if random.IntN(3) == 0 {
				text = "!" + text
			}
			patterns = append(patterns, text)
		}
		chosen, err := newSelection(patterns)
		if err != nil {
			t.Fatal(err)
		}
		want := slices.DeleteFunc(slices.Clone(every), func(name string) bool { return !chosen.takes(name) })
		archive, _, _ := packed(t, Content{SourceDir: root, Paths: patterns})
		got := names(t, archive)
		for i := range got {
			got[i] = strings.TrimSuffix(got[i], "/")
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Fatalf("%q packs %q instead of %q", patterns, got, want)
		}
	}
}

// mayBeMade says that a name is free, and that nothing above it is a file.
func mayBeMade(root, name string) bool {
	if _, err := os.Lstat(filepath.Join(root, name)); err == nil {
		return false
	}
	for above := path.Dir(name); above != "."; above = path.Dir(above) {
		if info, err := os.Lstat(filepath.Join(root, above)); err == nil && !info.IsDir() {
			return false
		}
	}
	return true
}
