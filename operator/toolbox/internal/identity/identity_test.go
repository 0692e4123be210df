package identity

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

const (
	passwd = `root:x:0:0:root:/root:/bin/sh
broken:x:nan:0::/nowhere:/bin/sh
short:x:7
user:x:1000:1001:,,,:/home/user:/bin/sh
again:x:1000:5:a second name of the same uid:/home/again:/bin/sh
4711:x:12:12:a name of digits:/home/digits:/bin/sh
homeless:x:13:13:::
`
	group = `root:x:0:
docker:x:998:user,other
tools:x:30:other,user
useless:x:31:username
user:x:1001:
many:x:40:` // and a very long list
)

func database(t *testing.T) Database {
	t.Helper()
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"passwd": passwd, "group": group + strings.Repeat("member,", 20_000) + "user\n"} {
		if err := os.WriteFile(filepath.Join(root, "etc", name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return Of(root)
}

func TestUsersAreWhatTheImageSays(t *testing.T) {
	users := database(t)
	for text, want := range map[string]User{
		"user":        {UID: 1000, GID: 1001, Groups: []uint32{998, 30, 40}, Home: "/home/user"},
		"1000":        {UID: 1000, GID: 1001, Groups: []uint32{998, 30, 40}, Home: "/home/user"},
		"user:docker": {UID: 1000, GID: 998, Groups: []uint32{998, 30, 40}, Home: "/home/user"},
		"user:77":     {UID: 1000, GID: 77, Groups: []uint32{998, 30, 40}, Home: "/home/user"},
		"4711":        {UID: 12, GID: 12, Home: "/home/digits"},
		"55":          {UID: 55},
		"55:56":       {UID: 55, GID: 56},
		"homeless":    {UID: 13, GID: 13},
		"root":        {Home: "/root"},
	} {
		if got, err := users.Parse(text); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s is %+v (%v), want %+v", text, got, err, want)
		}
	}
}

func TestWhoIsNotInTheImageIsNamed(t *testing.T) {
	users := database(t)
	for text, want := range map[string]string{
		"nobody":      `user "nobody" is not in`,
		"broken":      `user "broken" is not in`,
		"user:nobody": `group "nobody" is not in`,
		"-1":          `user "-1" is not in`,
		"4294967296":  `user "4294967296" is not in`,
		"":            `user "" is not in`,
		"user:":       `group "" is not in`,
	} {
		if _, err := users.Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}

func TestAnImageWithoutUsersKnowsNumbersOnly(t *testing.T) {
	users := Of(t.TempDir())
	if got, err := users.Parse("65532:65532"); err != nil || got.UID != 65532 || got.GID != 65532 {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := users.Parse("root"); err == nil {
		t.Error("root was found in an empty image")
	}
	if home := users.Home(0); home != "" {
		t.Errorf("the home is %q", home)
	}
}

func TestTheHomeOfAUidIsItsFirstEntrys(t *testing.T) {
	users := database(t)
	for uid, want := range map[uint32]string{0: "/root", 1000: "/home/user", 13: "", 999: ""} {
		if got := users.Home(uid); got != want {
			t.Errorf("the home of %d is %q, want %q", uid, got, want)
		}
	}
}
