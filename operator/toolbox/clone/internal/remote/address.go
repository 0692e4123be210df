// Package remote knows how to reach git servers: addresses, credentials, trust in hosts, and what their errors mean.
//
// What always holds: credentials go to the host they are for and to no other, never unencrypted, and appear in no text
// that is made here; no ssh host is trusted that is not known.
package remote

import (
	"errors"
	"fmt"
	"net"
	"path"
	"strconv"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/transport"
)

// Address is where a repository is.
type Address struct {
	// URL is the address as it was written, without a password: there can be none.
	URL      string
	endpoint *transport.Endpoint
}

// Parse understands https://…, http://…, ssh://… and user@host:path.
func Parse(url string) (Address, error) {
	endpoint, err := transport.NewEndpoint(url)
	if err != nil {
		return Address{}, fmt.Errorf("%s is no address of a repository: %w", shown(url), cause(err))
	}
	switch endpoint.Protocol {
	case "https", "http", "ssh":
	default:
		return Address{}, fmt.Errorf("%s: repositories come over https or ssh; write https://…, ssh://… or git@host:path", shown(url))
	}
	if endpoint.Password != "" {
		return Address{}, fmt.Errorf("%s has a password in it; put it into a Secret and name that as credentials", shown(url))
	}
	if endpoint.Host == "" {
		return Address{}, fmt.Errorf("%s names no host", shown(url))
	}
	return Address{URL: url, endpoint: endpoint}, nil
}

// Relative is a submodule's address, which may be relative to that of the repository it is in, as git understands it.
func (a Address) Relative(url string) (Address, error) {
	if !strings.HasPrefix(url, "./") && !strings.HasPrefix(url, "../") {
		return Parse(url)
	}
	head, tail, separator := a.parts()
	rest := url
	for {
		if after, found := strings.CutPrefix(rest, "./"); found {
			rest = after
		} else if after, found := strings.CutPrefix(rest, "../"); found {
			if tail == "" {
				return Address{}, fmt.Errorf("the submodule's address %s leads out of the host of %s", shown(url), a.URL)
			}
			rest = after
			tail = strings.TrimSuffix(path.Dir("/"+tail), "/")
			tail = strings.TrimPrefix(tail, "/")
		} else {
			break
		}
	}
	if strings.Contains("/"+rest+"/", "/../") {
		return Address{}, fmt.Errorf("the submodule's address %s cannot be used: its .. are not at the beginning", shown(url))
	}
	return Parse(head + separator + path.Join(tail, rest))
}

// parts are the address up to its path, the path without slashes around it, and what stands between.
func (a Address) parts() (head, tail, separator string) {
	start, separator := 0, ":"
	if scheme := strings.Index(a.URL, "://"); scheme >= 0 {
		start, separator = scheme+len("://"), "/"
	}
	end := strings.Index(a.URL[start:], separator)
	if end < 0 {
		return a.URL, "", separator
	}
	tail = a.URL[start+end+1:]
	if separator == ":" && strings.HasPrefix(tail, "/") {
		separator = ":/"
	}
	return a.URL[:start+end], strings.Trim(tail, "/"), separator
}

// place is protocol, host and port: what credentials are for.
func (a Address) place() string { return a.endpoint.Protocol + "://" + strings.ToLower(a.host()) }

// host is host:port, with the protocol's own port if the address names none.
func (a Address) host() string {
	port := a.endpoint.Port
	if port == 0 {
		port = map[string]int{"https": 443, "http": 80, "ssh": 22}[a.endpoint.Protocol]
	}
	return net.JoinHostPort(strings.Trim(a.endpoint.Host, "[]"), strconv.Itoa(port))
}

// shown is a text from somebody else, without a password and with nothing a terminal would obey.
func shown(url string) string {
	if scheme := strings.Index(url, "://"); scheme >= 0 {
		rest := url[scheme+len("://"):]
		host, _, _ := strings.Cut(rest, "/")
		if at := strings.LastIndexByte(host, '@'); at >= 0 {
			url = url[:scheme+len("://")] + rest[at+1:]
		}
	}
	const longest = 300
	quoted := strconv.Quote(url)
	return quoted[:min(len(quoted), longest)]
}

// cause is an error without the address around it, which may hold a password.
func cause(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}
