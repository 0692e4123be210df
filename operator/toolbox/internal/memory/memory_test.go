package memory

import (
	"os"
	"path/filepath"
	"testing"
)

func TestKillsAreReadFromEitherVersionOfCgroups(t *testing.T) {
	for name, test := range map[string]struct {
		text string
		want int
	}{
		"version 2":       {"low 0\nhigh 3\nmax 5\noom 2\noom_kill 7\noom_group_kill 1\n", 7},
		"version 1":       {"oom_kill_disable 0\nunder_oom 0\noom_kill 4\n", 4},
		"an older kernel": {"oom_kill_disable 0\nunder_oom 0\n", 0},
		"no number":       {"oom_kill many\n", 0},
		"nothing":         {"", 0},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "events")
			if err := os.WriteFile(file, []byte(test.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if got := Kills([]string{"/does/not/exist", file}); got != test.want {
				t.Errorf("got %d, want %d", got, test.want)
			}
		})
	}
}

func TestNoFileMeansNoKill(t *testing.T) {
	if got := Kills([]string{"/does/not/exist"}); got != 0 {
		t.Errorf("got %d", got)
	}
}
