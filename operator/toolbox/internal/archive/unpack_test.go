package archive

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// entry is one of a crafted archive.
type entry struct {
	kind       byte
	name, link string
	text       string
	mode       int64
}

func crafted(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var target bytes.Buffer
	stream, err := compressed(&target)
	if err != nil {
		t.Fatal(err)
	}
	writer := tar.NewWriter(stream)
	for _, one := range entries {
		if one.kind == 0 {
			one.kind = tar.TypeReg
		}
		if one.mode == 0 {
			one.mode = 0o644
		}
		header := &tar.Header{Typeflag: one.kind, Name: one.name, Linkname: one.link, Size: int64(len(one.text)), Mode: one.mode}
		if err := writer.WriteHeader(header); err != nil {
			t.Fatal(err)
		}
		if _, err := writer.Write([]byte(one.text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	if err := stream.Close(); err != nil {
		t.Fatal(err)
	}
	return target.Bytes()
}

// cell is a destination with something around it that must stay as it is.
type cell struct{ outside, inside string }

func newCell(t testing.TB) cell {
	t.Helper()
	outside := t.TempDir()
	c := cell{outside, filepath.Join(outside, "inside")}
	for name, text := range map[string]string{"precious": "gold", "folder/precious": "silver"} {
		file := filepath.Join(outside, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(c.inside, 0o755); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c cell) check(t testing.TB) {
	t.Helper()
	var found []string
	err := filepath.WalkDir(c.outside, func(path string, item fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if path == c.inside {
			return fs.SkipDir
		}
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(c.outside, path)
		line := fmt.Sprintf("%s %v %d", name, info.Mode(), info.Sys().(*syscall.Stat_t).Nlink)
		if !item.IsDir() {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			line += " " + string(data)
		}
		found = append(found, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{". drwxr-xr-x 4", "folder drwxr-xr-x 2", "folder/precious -rw------- 1 silver", "precious -rw------- 1 gold"}
	if !slices.Equal(found, want) {
		t.Errorf("outside there is now %q", found)
	}
}

func TestNoArchiveWritesOutsideItsDestination(t *testing.T) {
	for name, test := range map[string]struct {
		entries []entry
		err     string   // empty: it is unpacked
		want    []string // what is inside then
	}{
		"dots":                  {[]entry{{name: "a/../../precious"}}, "leads out of the destination", nil},
		"only dots":             {[]entry{{kind: tar.TypeDir, name: ".."}}, "leads out of the destination", nil},
		"an absolute name":      {[]entry{{name: "/tmp/precious"}}, "leads out of the destination", nil},
		"itself":                {[]entry{{kind: tar.TypeSymlink, name: "./", link: "/etc"}}, "would replace the destination", nil},
		"through a link":        {[]entry{{kind: tar.TypeSymlink, name: "x", link: ".."}, {name: "x/precious", text: "lead"}}, "", []string{"x", "x/precious"}},
		"through an absolute":   {[]entry{{kind: tar.TypeSymlink, name: "x", link: "{outside}/folder"}, {name: "x/precious"}}, "", []string{"x", "x/precious"}},
		"through two links":     {[]entry{{kind: tar.TypeSymlink, name: "a", link: ".."}, {kind: tar.TypeSymlink, name: "b", link: "a/folder"}, {name: "b/precious"}}, "", []string{"a", "b", "b/precious"}},
		"deep":                  {[]entry{{kind: tar.TypeSymlink, name: "a/b/c", link: "../../.."}, {name: "a/b/c/d/precious"}}, "", []string{"a", "a/b", "a/b/c", "a/b/c/d", "a/b/c/d/precious"}},
		"over a link":           {[]entry{{kind: tar.TypeSymlink, name: "x", link: "../precious"}, {name: "x", text: "lead"}}, "", []string{"x"}},
		"a folder over a link":  {[]entry{{kind: tar.TypeSymlink, name: "x", link: "../folder"}, {kind: tar.TypeDir, name: "x", mode: 0o777}, {name: "x/precious"}}, "", []string{"x", "x/precious"}},
		"a link over a folder":  {[]entry{{name: "x/y"}, {kind: tar.TypeSymlink, name: "x", link: "../folder"}, {name: "x/precious"}}, "", []string{"x", "x/precious"}},
		"a folder's mode":       {[]entry{{kind: tar.TypeDir, name: "x", mode: 0o777}, {kind: tar.TypeSymlink, name: "x", link: "../folder"}}, "", []string{"x"}},
		"a hard link out":       {[]entry{{kind: tar.TypeLink, name: "x", link: "../precious"}}, "leads out of the destination", nil},
		"an absolute hard link": {[]entry{{kind: tar.TypeLink, name: "x", link: "/etc/passwd"}}, "leads out of the destination", nil},
		"a hard link through":   {[]entry{{kind: tar.TypeSymlink, name: "a", link: ".."}, {kind: tar.TypeLink, name: "x", link: "a/precious"}}, "path escapes", nil},
		"a link to a link out": {[]entry{{kind: tar.TypeSymlink, name: "a", link: "../precious"}, {kind: tar.TypeLink, name: "b", link: "a"},
			{name: "b", text: "lead"}}, "", []string{"a", "b"}},
		"a link to nothing":      {[]entry{{kind: tar.TypeLink, name: "x", link: "y"}}, "which is not there", nil},
		"a link to a folder":     {[]entry{{kind: tar.TypeDir, name: "y"}, {kind: tar.TypeLink, name: "x", link: "y"}}, "which is a folder", nil},
		"a link to what it ends": {[]entry{{name: "x/y"}, {kind: tar.TypeLink, name: "x", link: "x/y"}}, "would replace", nil},
		"a link to itself":       {[]entry{{name: "x", text: "kept"}, {kind: tar.TypeLink, name: "x", link: "./x"}}, "", []string{"x"}},
		"a device":               {[]entry{{kind: tar.TypeChar, name: "null"}}, "only files, folders and links", nil},
		"a disk":                 {[]entry{{kind: tar.TypeBlock, name: "sda"}}, "only files, folders and links", nil},
		"a pipe":                 {[]entry{{kind: tar.TypeFifo, name: "fifo"}}, "only files, folders and links", nil},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCell(t)
			for i := range test.entries {
				test.entries[i].link = strings.ReplaceAll(test.entries[i].link, "{outside}", c.outside)
			}
			tree, err := Open(c.inside)
			if err != nil {
				t.Fatal(err)
			}
			_, err = tree.Unpack(bytes.NewReader(crafted(t, test.entries...)))
			if closeErr := tree.Close(); closeErr != nil {
				t.Error(closeErr)
			}
			switch {
			case err == nil && test.err == "":
				var found []string
				for _, line := range described(t, c.inside) {
					found = append(found, strings.Trim(strings.Split(line, " ")[0], `"`))
				}
				if !slices.Equal(found, test.want) {
					t.Errorf("inside there is %q", found)
				}
			case err == nil || test.err == "" || !strings.Contains(err.Error(), test.err):
				t.Errorf("got %v", err)
			}
			c.check(t)
		})
	}
}

func TestALinkThatWasThereIsNotFollowedEither(t *testing.T) {
	c := newCell(t)
	if err := os.Symlink("../folder", filepath.Join(c.inside, "x")); err != nil {
		t.Fatal(err)
	}
	unpackedTo(t, c.inside, crafted(t, entry{name: "x/precious", text: "lead"}))
	c.check(t)
}

func TestALaterArchiveReplacesWhatAnEarlierOneLeft(t *testing.T) {
	for name, test := range map[string]struct {
		first, second []entry
		want          string
	}{
		"a file":               {[]entry{{name: "x", text: "long ago"}}, []entry{{name: "x", text: "now", mode: 0o600}}, `"x" -rw------- now`},
		"a folder by a file":   {[]entry{{name: "x/y/z"}}, []entry{{name: "x", text: "now"}}, `"x" -rw-r--r-- now`},
		"a file by a folder":   {[]entry{{name: "x"}}, []entry{{name: "x/y", text: "now"}}, `"x" drwxr-xr-x|"x/y" -rw-r--r-- now`},
		"a link by a file":     {[]entry{{kind: tar.TypeSymlink, name: "x", link: "y"}}, []entry{{name: "x", text: "now"}}, `"x" -rw-r--r-- now`},
		"a file by a link":     {[]entry{{name: "x"}}, []entry{{kind: tar.TypeSymlink, name: "x", link: "y"}}, `"x" Lrwxrwxrwx`},
		"one name of two":      {[]entry{{name: "a", text: "both"}, {kind: tar.TypeLink, name: "b", link: "a"}}, []entry{{name: "a", text: "now"}}, `"a" -rw-r--r-- now|"b" -rw-r--r-- both`},
		"a closed folder":      {[]entry{{kind: tar.TypeDir, name: "x", mode: 0o555}, {name: "x/y"}}, []entry{{name: "x", text: "now"}}, `"x" -rw-r--r-- now`},
		"in a closed folder":   {[]entry{{kind: tar.TypeDir, name: "x", mode: 0o555}}, []entry{{name: "x/y", text: "now"}}, `"x" dr-xr-xr-x|"x/y" -rw-r--r-- now`},
		"a folder's mode":      {[]entry{{kind: tar.TypeDir, name: "x", mode: 0o700}}, []entry{{kind: tar.TypeDir, name: "x", mode: 0o750}}, `"x" drwxr-x---`},
		"set-uid is not given": {nil, []entry{{name: "x", text: "now", mode: 0o6755}}, `"x" -rwxr-xr-x now`},
	} {
		t.Run(name, func(t *testing.T) {
			target := t.TempDir()
			unpackedTo(t, target, crafted(t, test.first...), crafted(t, test.second...))
			var found []string
			for _, line := range described(t, target) {
				fields := strings.Fields(line)
				one := fields[0] + " " + fields[1]
				if fields[1][0] == '-' {
					one += " " + strings.Trim(fields[len(fields)-1], `"`)
				}
				found = append(found, one)
			}
			if got := strings.Join(found, "|"); got != test.want {
				t.Errorf("got %s", got)
			}
		})
	}
}

// Without the rights of root, which can write anywhere.
func TestClosedFoldersAreFilledAndReplacedByTheirOwner(t *testing.T) {
	if target := os.Getenv("TEST_UNPACK"); target != "" {
		closed := crafted(t, entry{kind: tar.TypeDir, name: "x", mode: 0o555}, entry{name: "x/y/z"}, entry{kind: tar.TypeDir, name: "x/y", mode: 0o111})
		unpackedTo(t, target, closed)
		unpackedTo(t, target, crafted(t, entry{name: "x/y/another"})) // an archive that says nothing of its folders
		for name, mode := range map[string]fs.FileMode{"x": 0o555, "x/y": 0o111} {
			if info, err := os.Stat(filepath.Join(target, name)); err != nil || info.Mode().Perm() != mode {
				t.Errorf("%s: %v, %v", name, info, err)
			}
		}
		unpackedTo(t, target, crafted(t, entry{name: "x/y/more"}), closed)
		info, err := os.Stat(filepath.Join(target, "x"))
		if err != nil || info.Mode().Perm() != 0o555 {
			t.Errorf("%v, %v", info, err)
		}
		unpackedTo(t, target, crafted(t, entry{name: "x", text: "now"}))
		return
	}
	folder, err := os.MkdirTemp("/tmp", "runabout-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	// Programs of tests are in folders that are their user's alone.
	program, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(folder, "test"), string(program), 0o755)
	if err := errorsOf(os.Chmod(folder, 0o755), os.Mkdir(filepath.Join(folder, "target"), 0o777), os.Chmod(filepath.Join(folder, "target"), 0o777)); err != nil {
		t.Fatal(err)
	}
	command := exec.Command(filepath.Join(folder, "test"), "-test.run=^"+t.Name()+"$")
	command.Dir = folder
	command.Env = append(os.Environ(), "TEST_UNPACK="+filepath.Join(folder, "target"))
	if os.Getuid() == 0 {
		command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	if out, err := command.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func errorsOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func TestADamagedArchiveIsNotTakenForAWholeOne(t *testing.T) {
	whole := crafted(t, entry{name: "x", text: strings.Repeat("some text that is long enough ", 1000)})
	plain := zstdOf(t, whole, "-d")
	turned := bytes.Clone(whole)
	turned[len(turned)-1] ^= 1 // of the checksum
	for name, damaged := range map[string][]byte{
		"cut": whole[:len(whole)-20], "noise": []byte("no archive at all, but some text"), "turned": turned,
		"a tar that is cut": zstdOf(t, plain[:len(plain)/2]),
	} {
		t.Run(name, func(t *testing.T) {
			tree, err := Open(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			defer tree.Close()
			_, err = tree.Unpack(bytes.NewReader(damaged))
			if err == nil || !strings.Contains(err.Error(), "damaged") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func FuzzUnpack(f *testing.F) {
	for _, entries := range [][]entry{
		{{name: "a/b", text: "text"}},
		{{kind: tar.TypeSymlink, name: "x", link: ".."}, {name: "x/precious", text: "lead"}},
		{{name: "a", text: "text"}, {kind: tar.TypeLink, name: "b", link: "a"}, {kind: tar.TypeDir, name: "a", mode: 0o777}},
	} {
		stream, err := decompressed(bytes.NewReader(crafted(f, entries...)))
		if err != nil {
			f.Fatal(err)
		}
		var plain bytes.Buffer
		if _, err := plain.ReadFrom(stream); err != nil {
			f.Fatal(err)
		}
		stream.Close()
		f.Add(plain.Bytes())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c := newCell(t)
		tree, err := Open(c.inside)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = tree.unpack(bytes.NewReader(data)) // whether it can be unpacked is not the question
		_ = tree.Close()
		c.check(t)
	})
}
