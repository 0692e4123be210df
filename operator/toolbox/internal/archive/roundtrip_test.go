package archive

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

var longAgo = time.Date(2001, 2, 3, 4, 5, 6, 789_000_000, time.UTC)

// everything is a folder with one of each kind that an archive can hold.
func everything(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	long := strings.Repeat("long", 60)
	for name, mode := range map[string]fs.FileMode{
		"plain": 0o644, "bin/tool": 0o755, "secret": 0o600, "closed/inside": 0o444, ".hidden/.file": 0o640,
		"odd \n \t ' \" $ * ? [x] {a,b} \\ name": 0o644, "no-utf8-\xff\xfe": 0o644, "-rf": 0o644, "ünïcode/文件": 0o644,
		long + "/" + long + "/" + long + "/" + long + "/file": 0o644,
	} {
		write(t, filepath.Join(root, name), "content of "+name, mode)
	}
	write(t, filepath.Join(root, "nothing"), "", 0o644)
	for _, name := range []string{"empty", "deep/er/empty"} {
		folderAt(t, filepath.Join(root, name))
	}
	for name, target := range map[string]string{
		"link": "plain", "dangling": "nowhere/at all", "out": "/etc/passwd", "up": "../../x", "to-folder": "bin", "raw": "\xff",
	} {
		if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(filepath.Join(root, "plain"), filepath.Join(root, "deep/same as plain")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(filepath.Join(root, "plain"), longAgo, longAgo); err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]fs.FileMode{"closed": 0o555, "empty": 0o700, "bin": 0o755 | fs.ModeSticky} {
		if err := os.Chmod(filepath.Join(root, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chtimes(filepath.Join(root, "bin"), longAgo, longAgo); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(filepath.Join(root, "closed"), 0o755) })
	return root
}

func folderAt(t *testing.T, folder string) {
	t.Helper()
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, file, text string, mode fs.FileMode) {
	t.Helper()
	folderAt(t, filepath.Dir(file))
	if err := os.WriteFile(file, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, mode); err != nil {
		t.Fatal(err)
	}
}

// described lists everything in a folder, with all that an archive keeps.
func described(t *testing.T, root string) []string {
	t.Helper()
	var result []string
	first := map[uint64]string{}
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		name, _ := filepath.Rel(root, path)
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		line := fmt.Sprintf("%q %v", name, info.Mode())
		switch stat := info.Sys().(*syscall.Stat_t); {
		case info.Mode()&fs.ModeSymlink != 0:
			target, _ := os.Readlink(path)
			line += fmt.Sprintf(" -> %q", target)
		case info.Mode().IsRegular():
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" %v %q", info.ModTime().UTC(), data)
			if stat.Nlink > 1 && first[stat.Ino] != "" {
				line += " as " + first[stat.Ino]
			} else {
				first[stat.Ino] = name
			}
		default:
			line += fmt.Sprintf(" %v", info.ModTime().UTC())
		}
		result = append(result, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func packed(t *testing.T, contents ...Content) (archive []byte, counts Counts, notices []string) {
	t.Helper()
	var target bytes.Buffer
	counts, err := Pack(&target, contents, func(text string) { notices = append(notices, text) })
	if err != nil {
		t.Fatal(err)
	}
	return target.Bytes(), counts, notices
}

func unpackedTo(t *testing.T, folder string, archives ...[]byte) Counts {
	t.Helper()
	tree, err := Open(folder)
	if err != nil {
		t.Fatal(err)
	}
	var sum Counts
	for _, archive := range archives {
		counts, err := tree.Unpack(bytes.NewReader(archive))
		if err != nil {
			t.Fatal(err)
		}
		sum = Counts{sum.Files + counts.Files, sum.Entries + counts.Entries, sum.Bytes + counts.Bytes}
	}
	if err := tree.Close(); err != nil {
		t.Fatal(err)
	}
	return sum
}

func all(folder string) Content { return Content{SourceDir: folder, Paths: []string{"**"}} }

func same(t *testing.T, got, want []string) {
	t.Helper()
	for _, line := range want {
		if !slices.Contains(got, line) {
			t.Errorf("missing: %s", line)
		}
	}
	for _, line := range got {
		if !slices.Contains(want, line) {
			t.Errorf("too much: %s", line)
		}
	}
}

func TestWhatIsPackedComesBackAsItWas(t *testing.T) {
	source, target := everything(t), t.TempDir()
	archive, counts, notices := packed(t, all(source))
	if got := unpackedTo(t, target, archive); got != counts || counts.Files != 18 {
		t.Errorf("packed %+v, unpacked %+v", counts, got)
	}
	same(t, described(t, target), described(t, source))
	if notices != nil {
		t.Errorf("it said %q", notices)
	}
}

func TestTheSameFilesGiveTheSameArchive(t *testing.T) {
	source := everything(t)
	one, _, _ := packed(t, all(source))
	other, _, _ := packed(t, all(source))
	if !bytes.Equal(one, other) {
		t.Error("two archives of the same folder differ")
	}
}

func TestUnpackingTwiceOverTheSameFolderChangesNothing(t *testing.T) {
	source, target := everything(t), t.TempDir()
	archive, _, _ := packed(t, all(source))
	unpackedTo(t, target, archive)
	unpackedTo(t, target, archive, archive)
	same(t, described(t, target), described(t, source))
}

func gnuTar(t *testing.T, input []byte, arguments ...string) []byte {
	t.Helper()
	command := exec.Command("tar", arguments...)
	command.Env = append(os.Environ(), "LC_ALL=C")
	command.Stdin = bytes.NewReader(input)
	var said bytes.Buffer
	command.Stderr = &said
	out, err := command.Output()
	if err != nil {
		t.Fatalf("%v: %v: %s", command.Args, err, &said)
	}
	return out
}

func zstdOf(t *testing.T, input []byte, arguments ...string) []byte {
	t.Helper()
	command := exec.Command("zstd", append(arguments, "-q", "-c")...)
	command.Stdin = bytes.NewReader(input)
	out, err := command.Output()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestTarUnpacksWhatWePack(t *testing.T) {
	source, target := everything(t), t.TempDir()
	archive, _, _ := packed(t, all(source))
	gnuTar(t, zstdOf(t, archive, "-d"), "-x", "-p", "--no-same-owner", "-C", target)
	same(t, described(t, target), described(t, source))
}

func TestWeUnpackWhatTarPacks(t *testing.T) {
	for _, format := range []string{"gnu", "pax", "posix"} {
		t.Run(format, func(t *testing.T) {
			source, target := everything(t), t.TempDir()
			unpackedTo(t, target, zstdOf(t, gnuTar(t, nil, "-c", "--format="+format, "-C", source, "."), "-3"))
			got, want := described(t, target), described(t, source)
			if format == "gnu" { // whole seconds only
				got, want = withoutFractions(got), withoutFractions(want)
			}
			same(t, got, want)
		})
	}
}

func withoutFractions(lines []string) []string {
	result := make([]string, len(lines))
	for i, line := range lines {
		if before, after, found := strings.Cut(line, " +0000 UTC"); found {
			before, _, _ = strings.Cut(before, ".")
			line = before + after
		}
		result[i] = line
	}
	return result
}

func TestHolesComeBackAndTakeNoSpace(t *testing.T) {
	const size = 300 << 20
	source, target := t.TempDir(), t.TempDir()
	file, err := os.Create(filepath.Join(source, "sparse"))
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int64{0, 100<<20 + 12345, size - 10<<20} {
		if _, err := file.WriteAt([]byte("data"), at); err != nil {
			t.Fatal(err)
		}
	}
	if err := file.Truncate(size); err != nil {
		t.Fatal(err)
	}
	file.Close()
	archive, counts, _ := packed(t, all(source))
	unpackedTo(t, target, archive)
	info, err := os.Stat(filepath.Join(target, "sparse"))
	if err != nil || info.Size() != size || counts.Bytes != size {
		t.Fatalf("%v, %v", info, err)
	}
	if used := info.Sys().(*syscall.Stat_t).Blocks * 512; used > 1<<20 || len(archive) > 1<<20 {
		t.Errorf("%d bytes on disk, %d bytes in the archive", used, len(archive))
	}
	copied, err := os.Open(filepath.Join(target, "sparse"))
	if err != nil {
		t.Fatal(err)
	}
	defer copied.Close()
	for _, at := range []int64{0, 100<<20 + 12345, size - 10<<20} {
		data := make([]byte, 6)
		if _, err := copied.ReadAt(data, at); err != nil || string(data) != "data\x00\x00" {
			t.Errorf("at %d: %q (%v)", at, data, err)
		}
	}
}

// A file longer than the size that a plain tar header has room for (8 GiB), with noise that cannot be compressed at its
// beginning, its middle and its end.
func TestTenGigabytesGoThroughInLittleMemory(t *testing.T) {
	const size, dense = 10_000_000_000, 64 << 20
	at := []int64{0, size / 2, size - dense}
	source, target := t.TempDir(), t.TempDir()
	file, err := os.Create(filepath.Join(source, "large"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	noise := func(number int) io.Reader {
		return io.LimitReader(rand.NewChaCha8([32]byte{byte(number)}), dense)
	}
	for number, place := range at {
		if _, err := io.Copy(io.NewOffsetWriter(file, place), noise(number)); err != nil {
			t.Fatal(err)
		}
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	read, write := io.Pipe()
	packing := make(chan error, 1)
	go func() {
		_, err := Pack(write, []Content{all(source)}, func(text string) { t.Error(text) })
		packing <- errors.Join(err, write.CloseWithError(err))
	}()
	tree, err := Open(target)
	if err != nil {
		t.Fatal(err)
	}
	counts, err := tree.Unpack(read)
	read.CloseWithError(err)
	if err := errors.Join(err, <-packing, tree.Close()); err != nil || counts.Bytes != size {
		t.Fatalf("%+v, %v", counts, err)
	}
	runtime.ReadMemStats(&after)
	if grown := int64(after.Sys) - int64(before.Sys); grown > 128<<20 {
		t.Errorf("%d bytes of memory were taken", grown)
	}
	copied, err := os.Open(filepath.Join(target, "large"))
	if err != nil {
		t.Fatal(err)
	}
	defer copied.Close()
	info, err := copied.Stat()
	if err != nil || info.Size() != size || info.Sys().(*syscall.Stat_t).Blocks*512 > 3*dense+1<<20 {
		t.Fatalf("%+v, %v", info, err)
	}
	for number, place := range at {
		var want, got [32]byte
		for sum, from := range map[*[32]byte]io.Reader{&want: noise(number), &got: io.NewSectionReader(copied, place, dense)} {
			hash := sha256.New()
			if _, err := io.Copy(hash, from); err != nil {
				t.Fatal(err)
			}
			hash.Sum(sum[:0])
		}
		if got != want {
			t.Errorf("at %d there is something else", place)
		}
	}
}

func TestSparseFilesOfTarKeepTheirHoles(t *testing.T) {
	source, target := t.TempDir(), t.TempDir()
	write(t, filepath.Join(source, "sparse"), "begin", 0o644)
	if err := os.Truncate(filepath.Join(source, "sparse"), 64<<20); err != nil {
		t.Fatal(err)
	}
	unpackedTo(t, target, zstdOf(t, gnuTar(t, nil, "-c", "--sparse", "--format=pax", "-C", source, "."), "-3"))
	info, err := os.Stat(filepath.Join(target, "sparse"))
	if err != nil || info.Size() != 64<<20 || info.Sys().(*syscall.Stat_t).Blocks > 256 {
		t.Errorf("%+v, %v", info, err)
	}
}
