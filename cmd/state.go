package cmd

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/serviceforge/serviceforge"
)

// The files in a state folder that others read.
const (
	brokerFile   = "broker.json"   // brokerEndpoint, 0600
	directorFile = "director.json" // directorEndpoint, 0600
	tokenFile    = "token"         // the operator token, 0600
	keyFile      = "broker.key"    // the key ring, 0600
)

// brokerEndpoint is how to reach the broker of a state folder.
type brokerEndpoint struct {
	URL      string `json:"url"`
	Username string `json:"username"`
	Password string `json:"password"`
}

// directorEndpoint is how to reach the local director of a state folder.
type directorEndpoint struct {
	URL    string `json:"url"`
	CAFile string `json:"ca_file"`
	Client string `json:"client"`
	Secret string `json:"secret"`
}

// openState makes the folder and makes sure that nobody else works in it: what
// names the part, e.g. "broker". The lock ends with the process.
func openState(dir, what string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, serviceforge.Wrap(err, serviceforge.Unprocessable,
			"the folder %s cannot be made (%v): choose another with --state DIR", dir, reason(err))
	}
	path := filepath.Join(dir, what+".lock")
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, serviceforge.Wrap(err, serviceforge.Unprocessable,
			"the folder %s cannot be written (%v): choose another with --state DIR", dir, reason(err))
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		pid, _ := os.ReadFile(path)
		_ = file.Close()
		return nil, serviceforge.Wrap(err, serviceforge.Unprocessable,
			"another serviceforge (process %s) uses %s: stop it, or choose another folder with --state DIR", strings.TrimSpace(string(pid)), dir)
	}
	_ = file.Truncate(0)
	_, _ = fmt.Fprintf(file, "%d\n", os.Getpid()) // only for the message above
	return func() { _ = file.Close() }, nil
}

// reason returns the system's word for an error, without the path.
func reason(err error) error {
	var e *fs.PathError
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}

// writePrivate replaces a file of the state folder, readable by its owner only.
func writePrivate(path string, content []byte) error {
	temporary, err := os.CreateTemp(filepath.Dir(path), ".new-*") // 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(temporary.Name()) }()
	_, err = temporary.Write(content)
	if err := errors.Join(err, temporary.Close()); err != nil {
		return err
	}
	return os.Rename(temporary.Name(), path)
}

func writeEndpoint(state, name string, endpoint any) error {
	content, err := json.MarshalIndent(endpoint, "", "  ")
	if err == nil {
		err = writePrivate(filepath.Join(state, name), append(content, '\n'))
	}
	if err != nil {
		return serviceforge.Wrap(err, serviceforge.Unprocessable, "%s cannot be written in %s", name, state)
	}
	return nil
}

func readEndpointFile(state, name string, endpoint any) error {
	if state == "" {
		return serviceforge.Errorf(serviceforge.Unavailable, "which folder was it started in? Name it with --state DIR: there is no HOME")
	}
	content, err := os.ReadFile(filepath.Join(state, name))
	if err == nil {
		err = json.Unmarshal(content, endpoint)
	}
	if err != nil {
		return serviceforge.Wrap(err, serviceforge.Unavailable, "nothing was started in %s: run `serviceforge dev`, or name the folder with --state DIR", state)
	}
	return nil
}

// readEndpoint finds the broker of a state folder and the token for it. Errors:
// Unauthorized (only the token is missing), Unavailable.
func readEndpoint(state string) (url string, token serviceforge.Secret, err error) {
	var b brokerEndpoint
	if err := readEndpointFile(state, brokerFile, &b); err != nil {
		return "", token, err
	}
	content, err := os.ReadFile(filepath.Join(state, tokenFile))
	if err != nil {
		return b.URL, token, serviceforge.Wrap(err, serviceforge.Unauthorized, "there is no token in %s that you can read: start the broker with --bootstrap, or name one in %s", state, tokenVariable)
	}
	return b.URL, serviceforge.NewSecret(strings.TrimSpace(string(content))), nil
}
