package archive

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func names(t *testing.T, archive []byte) []string {
	t.Helper()
	stream, err := decompressed(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	result := []string{}
	for source := tar.NewReader(stream); ; {
		header, err := source.Next()
		if errors.Is(err, io.EOF) {
			return result
		}
		if err != nil {
			t.Fatal(err)
		}
		result = append(result, header.Name)
	}
}

func TestPatternsChooseWhatIsPacked(t *testing.T) {
	root := t.TempDir()
	for _, name := range []string{"a.o", "a.c", "lib/b.o", "lib/deep/c.o", "lib/deep/c.c", ".git/config", "x[1]", "liberty"} {
		write(t, filepath.Join(root, name), name, 0o644)
	}
	folderAt(t, filepath.Join(root, "none"))
	for name, test := range map[string]struct{ paths, want []string }{
		"everything, in order": {[]string{"**"}, []string{".git/", ".git/config", "a.c", "a.o", "lib/", "lib/b.o", "lib/deep/",
			"lib/deep/c.c", "lib/deep/c.o", "liberty", "none/", "x[1]"}},
		"a star stays within a name":       {[]string{"*.o"}, []string{"a.o"}},
		"two stars cross folders":          {[]string{"**/*.o"}, []string{"a.o", "lib/b.o", "lib/deep/c.o"}},
		"a folder means what is in it":     {[]string{"lib"}, []string{"lib/", "lib/b.o", "lib/deep/", "lib/deep/c.c", "lib/deep/c.o"}},
		"written in other ways":            {[]string{"./lib/", "lib/deep"}, []string{"lib/", "lib/b.o", "lib/deep/", "lib/deep/c.c", "lib/deep/c.o"}},
		"a mark takes away":                {[]string{"lib", "!**/*.c"}, []string{"lib/", "lib/b.o", "lib/deep/", "lib/deep/c.o"}},
		"a whole folder, too":              {[]string{"lib", "!lib/deep"}, []string{"lib/", "lib/b.o"}},
		"the last one decides":             {[]string{"lib/**", "!lib/deep/**", "lib/deep/c.c"}, []string{"lib/", "lib/b.o", "lib/deep/c.c"}},
		"alternatives":                     {[]string{"{a,lib/b}.{o,c}"}, []string{"a.c", "a.o", "lib/b.o"}},
		"a special character, with a mark": {[]string{`x\[1\]`}, []string{"x[1]"}},
		"nothing":                          {[]string{"nowhere/**", "a.c/x"}, []string{}},
		"only taken away":                  {[]string{"!a.c"}, []string{}},
		"an empty folder":                  {[]string{"none"}, []string{"none/"}},
	} {
		t.Run(name, func(t *testing.T) {
			archive, _, notices := packed(t, Content{SourceDir: root, Paths: test.paths})
			if got := names(t, archive); !slices.Equal(got, test.want) {
				t.Errorf("got %q", got)
			}
			if (len(notices) == 0) == (len(test.want) == 0) {
				t.Errorf("it said %q", notices)
			}
		})
	}
}

func TestContentsGoWhereTheyShouldAndOverEachOther(t *testing.T) {
	root, target := t.TempDir(), t.TempDir()
	write(t, filepath.Join(root, "one/a"), "first", 0o644)
	write(t, filepath.Join(root, "two/a"), "second", 0o600)
	if err := os.Link(filepath.Join(root, "one/a"), filepath.Join(root, "one/b")); err != nil {
		t.Fatal(err)
	}
	archive, _, _ := packed(t,
		Content{SourceDir: filepath.Join(root, "one"), DestDir: "to/./here/", Paths: []string{"**"}},
		Content{SourceDir: filepath.Join(root, "two"), DestDir: "to/here", Paths: []string{"**"}},
		Content{SourceDir: filepath.Join(root, "one"), DestDir: "to/here", Paths: []string{"b"}})
	unpackedTo(t, target, archive)
	got := described(t, filepath.Join(target, "to/here"))
	if len(got) != 2 || !strings.HasSuffix(got[0], `"second"`) || !strings.HasSuffix(got[1], `"first"`) {
		t.Errorf("got %q", got)
	}
}

func TestWrongContentsAreRefused(t *testing.T) {
	root := t.TempDir()
	write(t, filepath.Join(root, "file"), "", 0o644)
	for name, test := range map[string]struct {
		content Content
		want    string
	}{
		"out of the source":      {Content{root, ".", []string{"a", "../x"}}, "contents[0]: paths[1]"},
		"an absolute path":       {Content{root, ".", []string{"/etc/**"}}, "is not relative to sourceDir"},
		"a home":                 {Content{root, ".", []string{"~/.m2"}}, "is not relative to sourceDir"},
		"an open bracket":        {Content{root, ".", []string{"a[b"}}, "is no valid pattern"},
		"empty":                  {Content{root, ".", []string{"!"}}, "is no pattern"},
		"out of the destination": {Content{root, "a/../../b", []string{"**"}}, "destDir"},
		"an absolute target":     {Content{root, "/b", []string{"**"}}, "destDir"},
		"a file as source":       {Content{filepath.Join(root, "file"), ".", []string{"**"}}, "is not a folder"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Pack(io.Discard, []Content{test.content}, func(string) {})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestWhatCannotBePackedIsPassedOverWithANotice(t *testing.T) {
	root, err := os.MkdirTemp("/tmp", "runabout-test-") // the name of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	if err := syscall.Mkfifo(filepath.Join(root, "fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("unix", filepath.Join(root, "socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	write(t, filepath.Join(root, "file"), "", 0o644)
	archive, counts, notices := packed(t, all(root))
	if got := names(t, archive); !slices.Equal(got, []string{"file"}) || counts.Files != 1 {
		t.Errorf("got %q, %+v", got, counts)
	}
	if len(notices) != 2 || !strings.Contains(notices[0], "/fifo is passed over") || !strings.Contains(notices[1], "/socket is passed over") {
		t.Errorf("it said %q", notices)
	}
}

func TestASourceThatIsMissingIsSaid(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	_, counts, notices := packed(t, all(missing))
	if counts != (Counts{}) || len(notices) != 2 || notices[0] != "there is no "+missing {
		t.Errorf("%+v, %q", counts, notices)
	}
}

// changing does something to a file when the first bytes of the archive come.
type changing struct{ change func() }

func (c *changing) Write(data []byte) (int, error) {
	if c.change != nil {
		c.change()
		c.change = nil
	}
	return len(data), nil
}

func TestFilesThatChangeWhileTheyAreReadAreNoticed(t *testing.T) {
	noise := make([]byte, (maxPackers+4)*frameSize) // more than is read before the first bytes come
	for state, i := uint64(1), 0; i < len(noise); i++ {
		state = state*6364136223846793005 + 1442695040888963407
		noise[i] = byte(state >> 56)
	}
	for name, test := range map[string]struct {
		change func(file string) error
		err    string
		notice string
	}{
		"shorter":  {func(file string) error { return os.Truncate(file, 10) }, "became shorter while it was read", ""},
		"longer":   {func(file string) error { return os.Truncate(file, int64(len(noise)+1)) }, "", "was written to while it was read"},
		"vanished": {func(file string) error { return os.Remove(filepath.Join(filepath.Dir(file), "second")) }, "", "second has vanished"},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			file := filepath.Join(root, "first")
			write(t, file, string(noise), 0o644)
			// A file system's clock ticks so slowly that a change right after a write may come at the same time.
			if err := os.Chtimes(file, longAgo, longAgo); err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(root, "second"), "", 0o644)
			var notices []string
			target := &changing{func() {
				if err := test.change(file); err != nil {
					t.Error(err)
				}
			}}
			// The name of the second is known before the first is read.
			_, err := Pack(target, []Content{{root, ".", []string{"**"}}}, func(text string) { notices = append(notices, text) })
			if said := strings.Join(notices, "\n"); !strings.Contains(said, test.notice) || (said == "") != (test.notice == "") {
				t.Errorf("it said %q", said)
			}
			if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Errorf("got %v", err)
			}
		})
	}
}
