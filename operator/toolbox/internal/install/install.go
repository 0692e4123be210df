// Package install puts the running program where another container can start it.
package install

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Name is the program's name in the folder it is installed to.
const Name = "toolbox"

// To copies the running program to folder/toolbox with mode 0755. The copy appears whole or not at all, also when an
// earlier one is being executed, so a container that is started twice does no harm.
func To(folder string) error {
	source, err := os.Open("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("cannot read the running program: %w", err)
	}
	defer source.Close()
	return copyTo(source, folder)
}

func copyTo(source io.Reader, folder string) (err error) {
	target, err := os.CreateTemp(folder, "."+Name+"-")
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
	return os.Rename(target.Name(), filepath.Join(folder, Name))
}
