package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/storer"
	"github.com/go-git/go-git/v5/plumbing/transport"
	"github.com/go-git/go-git/v5/plumbing/transport/server"
	"golang.org/x/crypto/ssh"
)

// sshSettings lets in whoever has the key of the file authorized, whatever they call themselves.
func sshSettings(host, authorized string) (*ssh.ServerConfig, error) {
	text, err := os.ReadFile(authorized)
	if err != nil {
		return nil, err
	}
	allowed, _, _, _, err := ssh.ParseAuthorizedKey(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", authorized, err)
	}
	if text, err = os.ReadFile(host); err != nil {
		return nil, err
	}
	signer, err := ssh.ParsePrivateKey(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", host, err)
	}
	settings := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, offered ssh.PublicKey) (*ssh.Permissions, error) {
		if !bytes.Equal(offered.Marshal(), allowed.Marshal()) {
			return nil, errors.New("the key is not known here")
		}
		return &ssh.Permissions{}, nil
	}}
	settings.AddHostKey(signer)
	return settings, nil
}

// serveSSH answers clones over ssh until the listener is closed.
func serveSSH(listener net.Listener, settings *ssh.ServerConfig, name string, repository storer.Storer) error {
	for {
		connection, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer connection.Close()
			if err := talk(connection, settings, name, repository); err != nil && !errors.Is(err, io.EOF) {
				log.Printf("ssh: %v", err)
			}
		}()
	}
}

func talk(connection net.Conn, settings *ssh.ServerConfig, name string, repository storer.Storer) error {
	_, channels, requests, err := ssh.NewServerConn(connection, settings)
	if err != nil {
		return err
	}
	go ssh.DiscardRequests(requests)
	for offered := range channels {
		if offered.ChannelType() != "session" {
			if err := offered.Reject(ssh.UnknownChannelType, "sessions only"); err != nil {
				return err
			}
			continue
		}
		channel, requests, err := offered.Accept()
		if err != nil {
			return err
		}
		go answerRequests(channel, requests, name, repository)
	}
	return nil
}

// answerRequests answers the one command of a session.
func answerRequests(channel ssh.Channel, requests <-chan *ssh.Request, name string, repository storer.Storer) {
	defer channel.Close()
	for request := range requests {
		var payload struct{ Command string }
		known := request.Type == "exec" && ssh.Unmarshal(request.Payload, &payload) == nil
		if request.WantReply {
			_ = request.Reply(known, nil) // whoever has gone is seen by what comes next
		}
		if !known {
			continue
		}
		var result struct{ Status uint32 }
		if err := execute(payload.Command, channel, name, repository); err != nil {
			fmt.Fprintln(channel.Stderr(), err)
			result.Status = 128
		}
		_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(result))
		return
	}
}

// execute is what git-upload-pack does: it says what there is, and sends what is asked for.
func execute(command string, channel io.ReadWriter, name string, repository storer.Storer) error {
	path, found := strings.CutPrefix(command, service+" ")
	if !found || strings.Trim(path, "'/") != name {
		return fmt.Errorf("%q: only %s of %s is served, repository not found", command, service, name)
	}
	endpoint := &transport.Endpoint{Path: "/" + name}
	session, err := server.NewServer(server.MapLoader{endpoint.String(): repository}).NewUploadPackSession(endpoint, nil)
	if err != nil {
		return err
	}
	references, err := session.AdvertisedReferencesContext(context.Background())
	if err != nil {
		return err
	}
	if err := references.Encode(channel); err != nil {
		return err
	}
	request := packp.NewUploadPackRequest()
	if err := request.Decode(io.LimitReader(channel, 1<<20)); err != nil {
		return err
	}
	response, err := session.UploadPack(context.Background(), request)
	if err != nil {
		return err
	}
	return response.Encode(channel) // which closes it
}
