package archive

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
)

// Pack writes an archive of the contents, each over the one before, and says what is in it.
//
// What is neither file, directory nor link is passed over with a notice, like what vanishes meanwhile. A file that
// becomes shorter while it is read is an error: what would stand for the rest was never in it.
func Pack(target io.Writer, contents []Content, notice func(string)) (Counts, error) {
	stream, err := compressed(target)
	if err != nil {
		return Counts{}, err
	}
	defer stream.Close() // a second time does no harm
	p := &packer{stream: stream, notice: notice}
	for i, content := range contents {
		before := p.counts.Entries
		if err := p.content(content); err != nil {
			return p.counts, fmt.Errorf("contents[%d]: %w", i, err)
		}
		if p.counts.Entries == before {
			notice(fmt.Sprintf("contents[%d]: nothing in %s fits %s", i, content.SourceDir, strings.Join(content.Paths, ", ")))
		}
	}
	if err := tar.NewWriter(stream).Close(); err != nil { // the mark of the end
		return p.counts, err
	}
	return p.counts, stream.Close()
}

// block is what the content of each entry is filled up to with zeros.
const block = 512

var padding [block]byte

// inode tells files apart.
type inode struct{ device, number uint64 }

type packer struct {
	stream *frames
	notice func(string)
	counts Counts

	// of the content at work
	root, dest string
	selection  selection
	first      map[inode]string // where a file with several names stands
}

func (p *packer) content(content Content) error {
	var err error
	if p.selection, err = newSelection(content.Paths); err != nil {
		return err
	}
	if p.dest, err = destination(content.DestDir); err != nil {
		return err
	}
	// Names of a content are its own: a later one may replace the file that a link would mean.
	p.root, p.first = content.SourceDir, map[inode]string{}
	switch info, err := os.Stat(p.root); {
	case errors.Is(err, fs.ErrNotExist):
		p.notice(fmt.Sprintf("there is no %s", p.root))
		return nil
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("sourceDir: %s is not a folder", p.root)
	}
	for _, base := range p.selection.bases() {
		if err := p.visit(base, false); err != nil {
			return err
		}
	}
	return nil
}

// destination checks where a content goes.
func destination(name string) (string, error) {
	clean := path.Clean(name)
	if path.IsAbs(clean) || clean == ".." || strings.HasPrefix(clean, "../") || clean == "~" || strings.HasPrefix(clean, "~/") {
		return "", fmt.Errorf("destDir: %q is not below the folder it is restored to; use a relative path without ..", name)
	}
	return clean, nil
}

// visit packs a name, and what is in it. Listed says that it was there a moment ago.
func (p *packer) visit(name string, listed bool) error {
	info, err := os.Lstat(p.path(name))
	switch {
	case err != nil && listed:
		return p.vanished(name, err)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return nil
	case err != nil:
		return err
	}
	if name != "." && p.selection.takes(name) {
		if err := p.add(name, info); err != nil {
			return err
		}
	}
	if !info.IsDir() && name != "." || p.selection.excludes(name) {
		return nil
	}
	entries, err := os.ReadDir(p.path(name)) // sorted by name
	if err != nil {
		return p.vanished(name, err)
	}
	for _, entry := range entries {
		if err := p.visit(path.Join(name, entry.Name()), true); err != nil {
			return err
		}
	}
	return nil
}

func (p *packer) path(name string) string { return filepath.Join(p.root, name) }

func (p *packer) add(name string, info fs.FileInfo) error {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("%s: this system does not say what it is", p.path(name))
	}
	header := &tar.Header{
		Format: tar.FormatPAX, Name: path.Join(p.dest, name), Mode: int64(stat.Mode & 0o7777), ModTime: info.ModTime(),
	}
	id := inode{uint64(stat.Dev), uint64(stat.Ino)}
	switch kind := info.Mode().Type(); {
	case kind == fs.ModeDir:
		header.Typeflag, header.Name = tar.TypeDir, header.Name+"/"
		p.counts.Entries++
		return p.header(header)
	case kind == fs.ModeSymlink:
		target, err := os.Readlink(p.path(name))
		if err != nil {
			return p.vanished(name, err)
		}
		header.Typeflag, header.Linkname = tar.TypeSymlink, target
	case kind != 0:
		p.notice(fmt.Sprintf("%s is passed over: it is neither file, folder nor link", p.path(name)))
		return nil
	case stat.Nlink > 1 && p.first[id] != "":
		header.Typeflag, header.Linkname = tar.TypeLink, p.first[id]
	default:
		return p.file(name, header, id)
	}
	p.counts.Entries++
	p.counts.Files++
	return p.header(header)
}

// header begins an entry. The writer would have the content pass through itself, and here it is read to where it stays:
// so each is one's that knows of nothing before, and fills up no block.
func (p *packer) header(header *tar.Header) error { return tar.NewWriter(p.stream).WriteHeader(header) }

func (p *packer) vanished(name string, err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	p.notice(fmt.Sprintf("%s has vanished meanwhile", p.path(name)))
	return nil
}

// file packs a regular file as long as it is when it is opened.
func (p *packer) file(name string, header *tar.Header, id inode) error {
	// Not to wait for ever if it has become a pipe since.
	source, err := os.OpenFile(p.path(name), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return p.vanished(name, err)
	}
	defer source.Close()
	info, err := source.Stat()
	if err != nil {
		return err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.Mode().IsRegular() {
		p.notice(fmt.Sprintf("%s is passed over: it is no file any more", p.path(name)))
		return nil
	}
	header.Typeflag, header.Size = tar.TypeReg, info.Size()
	header.Mode, header.ModTime = int64(stat.Mode&0o7777), info.ModTime()
	if err := p.header(header); err != nil {
		return err
	}
	var reader io.Reader = source
	if int64(stat.Blocks)*512 < info.Size() {
		reader = &holes{file: source, size: info.Size()}
	}
	read, err := p.stream.ReadFrom(io.LimitReader(reader, info.Size()))
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", p.path(name), err)
	case read < info.Size():
		return fmt.Errorf("%s became shorter while it was read: %d bytes of %d; let what writes it end before it is saved",
			p.path(name), read, info.Size())
	}
	if _, err := p.stream.Write(padding[:-read&(block-1)]); err != nil {
		return err
	}
	if after, err := source.Stat(); err == nil && !after.ModTime().Equal(info.ModTime()) {
		p.notice(fmt.Sprintf("%s was written to while it was read: what is saved may be a mixture", p.path(name)))
	}
	if stat.Nlink > 1 {
		p.first[id] = header.Name
	}
	p.counts.Entries++
	p.counts.Files++
	p.counts.Bytes += info.Size()
	return nil
}
