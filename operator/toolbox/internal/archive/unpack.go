package archive

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Tree is a folder that archives are unpacked into, each over what is there.
//
// What an archive says counts: an entry replaces whatever has its name, a link and a whole folder too, and what stands
// in the way of its folders. Files belong to who unpacks; set-uid and set-gid bits of files are not restored.
type Tree struct {
	root    *os.Root
	parent  *os.Root // the folder of the entry before, nil if unknown
	at      string   // its name
	buffer  []byte
	folders map[string]folder // what is still to be set when everything is in its place
}

type folder struct {
	mode fs.FileMode
	time time.Time // zero: leave as it is
}

// Open opens a folder to unpack into, and creates what is missing of it.
func Open(name string) (*Tree, error) {
	if err := os.MkdirAll(name, 0o755); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	return &Tree{root: root, buffer: make([]byte, buffer), folders: map[string]folder{}}, nil
}

// Close gives folders their modes and times, and closes the tree.
func (t *Tree) Close() error {
	defer t.root.Close()
	t.leave()
	return t.finish()
}

// Unpack unpacks one archive: a tar compressed with zstd.
func (t *Tree) Unpack(source io.Reader) (Counts, error) {
	stream, err := decompressed(source)
	if err != nil {
		return Counts{}, err
	}
	defer stream.Close()
	counts, err := t.unpack(stream)
	if err != nil {
		return counts, err
	}
	// What follows the end of the tar is nothing, but has the checksum of everything before.
	_, err = io.CopyBuffer(io.Discard, stream, t.buffer)
	return counts, damaged(err)
}

func (t *Tree) unpack(stream io.Reader) (Counts, error) {
	var counts Counts
	source := tar.NewReader(stream)
	for {
		header, err := source.Next()
		if errors.Is(err, io.EOF) {
			return counts, nil
		}
		if err != nil {
			return counts, damaged(err)
		}
		if header.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		if err := t.entry(header, source, &counts); err != nil {
			return counts, fmt.Errorf("%q: %w", header.Name, err)
		}
	}
}

func damaged(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("the archive is damaged: %w", err)
}

func (t *Tree) entry(header *tar.Header, source io.Reader, counts *Counts) error {
	elements, err := split(header.Name)
	if err != nil {
		return err
	}
	if len(elements) == 0 { // the destination itself
		if header.Typeflag == tar.TypeDir {
			return nil
		}
		return errors.New("the entry would replace the destination")
	}
	name := elements[len(elements)-1]
	full := strings.Join(elements, "/")
	parent, err := t.enter(elements[:len(elements)-1])
	if err != nil {
		return err
	}
	counts.Entries++
	if header.Typeflag != tar.TypeDir {
		counts.Files++
	}
	switch header.Typeflag {
	case tar.TypeDir:
		return t.makeFolder(parent, name, full, header)
	case tar.TypeReg, tar.TypeGNUSparse, tar.TypeCont:
		if err := t.clear(parent, name, full); err != nil {
			return err
		}
		counts.Bytes += header.Size
		return t.file(parent, name, header, source)
	case tar.TypeSymlink:
		if err := t.clear(parent, name, full); err != nil {
			return err
		}
		return parent.Symlink(header.Linkname, name)
	case tar.TypeLink:
		return t.link(parent, name, full, header)
	default:
		return fmt.Errorf("it is of type %q, and only files, folders and links are unpacked", header.Typeflag)
	}
}

// split gives the elements of a name that stays below the destination.
func split(name string) ([]string, error) {
	if strings.HasPrefix(name, "/") {
		return nil, errors.New("an absolute name leads out of the destination")
	}
	var result []string
	for _, element := range strings.Split(name, "/") {
		switch element {
		case "", ".":
		case "..":
			return nil, errors.New("\"..\" leads out of the destination")
		default:
			result = append(result, element)
		}
	}
	return result, nil
}

func (t *Tree) file(parent *os.Root, name string, header *tar.Header, source io.Reader) (err error) {
	// New and not over what was there, which could have another name elsewhere.
	target, err := parent.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := target.Close(); err == nil {
			err = closeErr
		}
		if err == nil {
			err = parent.Chtimes(name, header.ModTime, header.ModTime)
		}
	}()
	written, err := writeSparse(target, source, t.buffer)
	switch {
	case err != nil:
		return err
	case written != header.Size:
		return damaged(fmt.Errorf("%d bytes of %d", written, header.Size))
	}
	return target.Chmod(fs.FileMode(header.Mode) & fs.ModePerm)
}

// link makes one more name for a file that the archive has unpacked.
func (t *Tree) link(parent *os.Root, name, full string, header *tar.Header) error {
	elements, err := split(header.Linkname)
	if err != nil {
		return fmt.Errorf("a link to %q: %w", header.Linkname, err)
	}
	old := strings.Join(elements, "/")
	if old == full {
		return nil
	}
	info, err := t.root.Lstat(old)
	switch {
	case err != nil:
		return fmt.Errorf("a link to %q, which is not there: %w", header.Linkname, err)
	case info.IsDir():
		return fmt.Errorf("a link to %q, which is a folder", header.Linkname)
	}
	if strings.HasPrefix(old, full+"/") {
		return fmt.Errorf("a link to %q would replace the folder that is in", header.Linkname)
	}
	if err := t.clear(parent, name, full); err != nil {
		return err
	}
	err = t.root.Link(old, full)
	if info.Mode().IsRegular() && (errors.Is(err, syscall.EMLINK) || errors.Is(err, syscall.EXDEV) ||
		errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOTSUP)) {
		return t.copy(parent, name, old, info) // a file system without such links
	}
	return err
}

func (t *Tree) copy(parent *os.Root, name, old string, info fs.FileInfo) error {
	source, err := t.root.Open(old)
	if err != nil {
		return err
	}
	defer source.Close()
	header := &tar.Header{Mode: int64(info.Mode().Perm()), ModTime: info.ModTime(), Size: info.Size()}
	return t.file(parent, name, header, source)
}

func (t *Tree) makeFolder(parent *os.Root, name, full string, header *tar.Header) error {
	mode := fs.FileMode(header.Mode) & fs.ModePerm
	if header.Mode&0o1000 != 0 {
		mode |= fs.ModeSticky
	}
	if _, err := t.ensure(parent, name, full); err != nil {
		return err
	}
	t.folders[full] = folder{mode, header.ModTime}
	return nil
}

// enter opens the folder of an entry, and makes it one if need be.
func (t *Tree) enter(elements []string) (*os.Root, error) {
	at := strings.Join(elements, "/")
	if t.parent != nil && t.at == at {
		return t.parent, nil
	}
	t.leave()
	current := t.root
	for i, element := range elements {
		full := strings.Join(elements[:i+1], "/")
		mode, err := t.ensure(current, element, full)
		var next *os.Root
		if err == nil {
			next, err = t.open(current, element, full, mode)
		}
		if current != t.root {
			current.Close()
		}
		if err != nil {
			return nil, fmt.Errorf("the folder %q: %w", full, err)
		}
		current = next
	}
	t.parent, t.at = current, at
	return current, nil
}

// open opens a folder, and gives its owner the right to write in it until the tree is closed.
func (t *Tree) open(parent *os.Root, name, full string, mode fs.FileMode) (*os.Root, error) {
	if mode.Perm()&0o700 != 0o700 && parent.Chmod(name, mode.Perm()|0o700) == nil {
		if _, known := t.folders[full]; !known {
			t.folders[full] = folder{mode: mode}
		}
	}
	return parent.OpenRoot(name)
}

// leave forgets the folder of the entry before.
func (t *Tree) leave() {
	if t.parent != nil && t.parent != t.root {
		t.parent.Close()
	}
	t.parent, t.at = nil, ""
}

// ensure makes a name a folder, and says which mode it has.
func (t *Tree) ensure(parent *os.Root, name, full string) (fs.FileMode, error) {
	info, err := parent.Lstat(name)
	switch {
	case err == nil && info.IsDir():
		return info.Mode(), nil
	case err == nil:
		if err := parent.Remove(name); err != nil {
			return 0, err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return 0, err
	}
	delete(t.folders, full)
	if err := parent.Mkdir(name, 0o755); err != nil {
		return 0, err
	}
	return 0o755, nil
}

// clear takes away what has a name.
func (t *Tree) clear(parent *os.Root, name, full string) error {
	info, err := parent.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !info.IsDir():
		return parent.Remove(name)
	}
	if err := parent.RemoveAll(name); err != nil {
		loosen(parent, name)
		if err := parent.RemoveAll(name); err != nil {
			return err
		}
	}
	for known := range t.folders {
		if within(known, full) {
			delete(t.folders, known)
		}
	}
	return nil
}

// loosen gives the owner the right to remove what is in a folder.
func loosen(parent *os.Root, name string) {
	// What fails here fails again, and is said, when it is removed.
	_ = parent.Chmod(name, 0o700)
	inside, err := parent.OpenRoot(name)
	if err != nil {
		return
	}
	defer inside.Close()
	handle, err := inside.Open(".")
	if err != nil {
		return
	}
	defer handle.Close()
	entries, _ := handle.ReadDir(-1)
	for _, entry := range entries {
		if entry.IsDir() {
			loosen(inside, entry.Name())
		}
	}
}

// finish sets what could not be set while folders were being filled, the deepest first.
func (t *Tree) finish() error {
	var failures []error
	for _, name := range deepestFirst(t.folders) {
		wanted := t.folders[name]
		if info, err := t.root.Lstat(name); err != nil || !info.IsDir() {
			continue // replaced since, by something else than this tree
		}
		err := t.root.Chmod(name, wanted.mode)
		if err == nil && !wanted.time.IsZero() {
			err = t.root.Chtimes(name, wanted.time, wanted.time)
		}
		// A folder that was there and is somebody else's keeps what it has.
		if err != nil && !errors.Is(err, fs.ErrPermission) {
			failures = append(failures, fmt.Errorf("the folder %q: %w", name, err))
		}
	}
	return errors.Join(failures...)
}

func deepestFirst(folders map[string]folder) []string {
	names := slices.Collect(maps.Keys(folders))
	slices.SortFunc(names, func(a, b string) int { return strings.Compare(b, a) }) // a folder is a prefix of what is in it
	return names
}
