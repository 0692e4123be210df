// Package identity finds out who a step runs as, from the image's own /etc/passwd and /etc/group.
//
// It reads the files itself: the C library's lookup would need the image to have one.
package identity

import (
	"bufio"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// User is an identity a process can take.
type User struct {
	UID, GID uint32
	Groups   []uint32 // supplementary
	Home     string   // empty if /etc/passwd has none
}

// Database is where users and groups are looked up.
type Database struct {
	root string
}

// Of is the database of the file system under root.
func Of(root string) Database { return Database{root: root} }

type account struct {
	name     string
	uid, gid uint32
	home     string
}

// Parse understands NAME, UID, NAME:GROUP and UID:GID. A name must be known; a number need not be.
func (d Database) Parse(text string) (User, error) {
	name, group, hasGroup := strings.Cut(text, ":")
	found, known, err := d.account(name)
	if err != nil {
		return User{}, err
	}
	result := User{UID: found.uid, GID: found.gid, Home: found.home}
	if !known {
		uid, err := number(name)
		if err != nil {
			return User{}, fmt.Errorf("user %q is not in the image's /etc/passwd; use one that is, or a number", name)
		}
		result.UID = uid
	}
	if hasGroup {
		if result.GID, err = d.group(group); err != nil {
			return User{}, err
		}
	}
	if known {
		result.Groups, err = d.memberships(found.name)
	}
	return result, err
}

// Home is the home folder of a uid, empty if it has none.
func (d Database) Home(uid uint32) string {
	found, _, err := d.account(strconv.FormatUint(uint64(uid), 10))
	if err != nil {
		return ""
	}
	return found.home
}

// account looks for a name and, if it is a number, for a uid. A name wins.
func (d Database) account(name string) (account, bool, error) {
	uid, numberErr := number(name)
	var byName, byUID *account
	err := d.each("etc/passwd", 7, func(fields []string) {
		entryUID, uidErr := number(fields[2])
		entryGID, gidErr := number(fields[3])
		if uidErr != nil || gidErr != nil {
			return
		}
		entry := &account{name: fields[0], uid: entryUID, gid: entryGID, home: fields[5]}
		if byName == nil && entry.name == name {
			byName = entry
		}
		if byUID == nil && numberErr == nil && entry.uid == uid {
			byUID = entry
		}
	})
	switch {
	case err != nil:
		return account{}, false, err
	case byName != nil:
		return *byName, true, nil
	case byUID != nil:
		return *byUID, true, nil
	default:
		return account{}, false, nil
	}
}

func (d Database) group(name string) (uint32, error) {
	var found *uint32
	err := d.each("etc/group", 4, func(fields []string) {
		gid, err := number(fields[2])
		if err == nil && found == nil && fields[0] == name {
			found = &gid
		}
	})
	if err != nil {
		return 0, err
	}
	if found != nil {
		return *found, nil
	}
	gid, err := number(name)
	if err != nil {
		return 0, fmt.Errorf("group %q is not in the image's /etc/group; use one that is, or a number", name)
	}
	return gid, nil
}

func (d Database) memberships(name string) ([]uint32, error) {
	var groups []uint32
	err := d.each("etc/group", 4, func(fields []string) {
		gid, err := number(fields[2])
		if err != nil {
			return
		}
		for _, member := range strings.Split(fields[3], ",") {
			if member == name {
				groups = append(groups, gid)
				return
			}
		}
	})
	return groups, err
}

// each calls visit with the fields of every line that has enough of them. A file that does not exist is empty.
func (d Database) each(file string, fields int, visit func([]string)) error {
	source, err := os.Open(filepath.Join(d.root, file))
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot look up users: %w", err)
	}
	defer source.Close()
	lines := bufio.NewScanner(source)
	lines.Buffer(nil, 1<<20) // a group can have many members
	for lines.Scan() {
		if parts := strings.Split(lines.Text(), ":"); len(parts) >= fields {
			visit(parts)
		}
	}
	if err := lines.Err(); err != nil {
		return &fs.PathError{Op: "read", Path: "/" + file, Err: err}
	}
	return nil
}

func number(text string) (uint32, error) {
	value, err := strconv.ParseUint(text, 10, 32)
	return uint32(value), err
}
