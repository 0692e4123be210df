package results

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestLinesBecomeResults(t *testing.T) {
	for text, want := range map[string]map[string]string{
		"":                               {},
		"VERSION=1.2.3\n":                {"VERSION": "1.2.3"},
		"a=1\n\n_b2= two = 2 \r\nc=":     {"a": "1", "_b2": " two = 2 ", "c": ""},
		"a=1\na=2\n":                     {"a": "2"},
		"a=größe\n":                      {"a": "größe"},
		"a=" + strings.Repeat("x", 4096): {"a": strings.Repeat("x", 4096)},
	} {
		if got, err := Parse([]byte(text)); err != nil || !maps.Equal(got, want) {
			t.Errorf("%.40q: got %v, %v", text, got, err)
		}
	}
}

func TestALineThatIsNoResultIsNamed(t *testing.T) {
	for text, want := range map[string]string{
		"a=1\nb":                         "line 2 is not KEY=VALUE",
		"\n\n1a=1":                       "line 3: the key is not",
		"a b=1":                          "line 1: the key is not",
		"=1":                             "line 1: the key is not",
		"# note=1":                       "line 1: the key is not",
		"a=" + strings.Repeat("x", 4097): "line 1: the value of a has 4097 bytes, at most 4096",
		"a=\xff":                         "line 1: the value of a is no text",
		"a=\x00":                         "line 1: the value of a is no text",
	} {
		if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: got %v, want %q", text, err, want)
		}
	}
}

func TestAllResultsOfATaskAreBounded(t *testing.T) {
	earlier := map[string]string{}
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g"} {
		earlier[name] = strings.Repeat("x", MaxValue)
	}
	last := MaxTotal - 7*(MaxValue+1) - 1
	got, err := Merge(earlier, map[string]string{"h": strings.Repeat("x", last), "a": strings.Repeat("y", MaxValue)})
	if err != nil || len(got) != 8 || got["a"][0] != 'y' || earlier["a"][0] != 'x' {
		t.Errorf("got %d results, %v", len(got), err)
	}
	if _, err := Merge(earlier, map[string]string{"h": strings.Repeat("x", last+1)}); err == nil || !strings.Contains(err.Error(), "32769 bytes") {
		t.Errorf("got %v", err)
	}
}

func TestOnlyAFileIsRead(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "file")
	if got, err := Read(file); err != nil || len(got) != 0 {
		t.Errorf("none: got %v, %v", got, err)
	}
	if err := os.WriteFile(file, []byte("a=1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := Read(file); err != nil || got["a"] != "1" {
		t.Errorf("got %v, %v", got, err)
	}
	link, pipe, large := filepath.Join(folder, "link"), filepath.Join(folder, "pipe"), filepath.Join(folder, "large")
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(large, make([]byte, maxFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{link, pipe, folder, large} {
		if got, err := Read(name); err == nil {
			t.Errorf("%s: got %v", name, got)
		}
	}
}

func TestReferencesAreFilledInAndNothingElse(t *testing.T) {
	value := func(task, key string) string { return "<" + task + "/" + key + ">" }
	for text, want := range map[string]string{
		"v{{ tasks.build.results.VERSION }}-{{tasks.a-1.results.b_2}}":      "v<build/VERSION>-<a-1/b_2>",
		"{{ tasks.build.results }} {{ .Values.x }} {{ tasks.B.results.x }}": "{{ tasks.build.results }} {{ .Values.x }} {{ tasks.B.results.x }}",
	} {
		if got := Fill(text, value); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
