// Package install puts the running program where another container can start it.
package install

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
)

const (
	// Name is the program's name in the folder it is installed to.
	Name = "toolbox"
	// Clone is the name of the program that clones repositories; only pods that do get it.
	Clone = "runabout-clone"
)

// To copies the running program to folder/toolbox with mode 0755. The copy appears whole or not at all, also when an
// earlier one is being executed, so a container that is started twice does no harm.
func To(folder string) error { return from("/proc/self/exe", folder, Name) }

// Beside copies, in the same way, another program that lies beside the running one.
func Beside(folder, name string) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("cannot find the running program: %w", err)
	}
	return from(filepath.Join(filepath.Dir(self), name), folder, name)
}

func from(file, folder, name string) error {
	source, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("cannot read the program %s: %w", name, err)
	}
	defer source.Close()
	return copyTo(source, folder, name)
}

func copyTo(source io.Reader, folder, name string) (err error) {
	target, err := os.CreateTemp(folder, "."+name+"-")
	if err != nil {
		return fmt.Errorf("cannot write to %s; mount a volume there that this user may write to: %w", folder, err)
	}
	defer func() {
		target.Close()
		if err != nil {
			os.Remove(target.Name())
		}
	}()
	if _, err = io.Copy(target, source); err != nil {
		return fmt.Errorf("cannot copy to %s: %w", target.Name(), err)
	}
	// Chmod on the file, not at creation: the umask does not apply.
	if err = target.Chmod(0o755); err != nil {
		return fmt.Errorf("cannot make %s executable: %w", target.Name(), err)
	}
	// Closed before the rename: a program open for writing cannot be executed.
	if err = target.Close(); err != nil {
		return fmt.Errorf("cannot finish %s: %w", target.Name(), err)
	}
	return os.Rename(target.Name(), filepath.Join(folder, name))
}
