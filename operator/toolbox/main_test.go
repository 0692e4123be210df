package main

import (
	"bytes"
	"go/build"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"runabout.dev/toolbox/internal/install"
)

func TestAWrongCommandLineSaysWhatIsRight(t *testing.T) {
	for name, test := range map[string]struct {
		arguments []string
		exitCode  int
		want      string
	}{
		"nothing":            {nil, 2, "toolbox runs the steps"},
		"unknown":            {[]string{"fly"}, 2, `unknown command "fly"`},
		"install nowhere":    {[]string{"install"}, 2, "takes one folder"},
		"install too much":   {[]string{"install", "/tmp", "git"}, 2, "and clone behind it or nothing"},
		"install to nowhere": {[]string{"install", "/does/not/exist"}, 1, "/does/not/exist"},
		"no plan":            {[]string{"run"}, 2, "--plan FILE is needed"},
		"too much":           {[]string{"run", "--plan", "a", "b"}, 2, "and nothing else"},
		"a transfer by hand": {[]string{"transfer", "--plan", "x"}, 2, "started by toolbox run"},
		"files by hand":      {[]string{"files"}, 2, "started by the toolbox itself"},
		"unknown flag":       {[]string{"run", "--fast"}, 2, "fast"},
		"help":               {[]string{"--help"}, 0, "toolbox run --plan FILE"},
		"version":            {[]string{"version"}, 0, "toolbox " + version + " linux/"},
	} {
		t.Run(name, func(t *testing.T) {
			var said bytes.Buffer
			if got := command(test.arguments, &said, &said); got != test.exitCode || !strings.Contains(said.String(), test.want) {
				t.Errorf("exit code %d, %q", got, said.String())
			}
		})
	}
}

func TestInstallIsAllThatAnInitContainerNeeds(t *testing.T) {
	folder := t.TempDir()
	if got := command([]string{"install", folder}, os.Stdout, os.Stderr); got != 0 {
		t.Fatalf("exit code %d", got)
	}
	if info, err := os.Stat(filepath.Join(folder, install.Name)); err != nil || info.Mode() != 0o755 {
		t.Errorf("it is %v (%v)", info, err)
	}
}

// modules are all that the program is made of, beside the standard library.
var modules = []string{"runabout.dev/toolbox", "github.com/klauspost/compress", "github.com/bmatcuk/doublestar"}

// Any image, also an empty one, on every architecture: nothing but the kernel is needed.
func TestTheProgramNeedsNothingButTheKernelOnEveryArchitecture(t *testing.T) {
	for _, arch := range []string{"amd64", "arm64", "arm", "386"} {
		t.Run(arch, func(t *testing.T) {
			// Building takes minutes where nothing is cached; what would make a program dynamic can be asked for.
			list := exec.Command("go", "list", "-deps", "-f", `{{if not .Standard}}{{.ImportPath}} {{len .CgoFiles}}{{end}}`, ".")
			list.Env = append(os.Environ(), "GOOS=linux", "GOARCH="+arch, "CGO_ENABLED=0")
			out, err := list.CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
				isOurs := slices.ContainsFunc(modules, func(module string) bool { return strings.HasPrefix(line, module) })
				if !isOurs || !strings.HasSuffix(line, " 0") {
					t.Errorf("%s is of no module that the program may use, or needs C", line)
				}
			}
			context := build.Default
			context.GOARCH = arch
			found, err := context.ImportDir("internal/script", 0)
			if err != nil || !strings.Contains(strings.Join(found.GoFiles, " "), "memfd_"+arch+".go") {
				t.Errorf("the system call's number is missing: %v (%v)", found.GoFiles, err)
			}
		})
	}
}
