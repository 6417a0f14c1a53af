package spec

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// Dev is a running `serviceforge dev`.
type Dev struct {
	*Process
	Broker
	State string
}

// StartDev starts dev as the account on a folder of its own, with free ports;
// args are added. network is its part of 127.0.0.0/8: specs that may run at
// the same time use different ones.
func StartDev(t testing.TB, a Account, network string, args ...string) *Dev {
	t.Helper()
	state := filepath.Join(Folder(t), "s")
	if err := os.Chmod(filepath.Dir(state), 0o777); err != nil {
		t.Fatal(err)
	}
	return startDev(t, a, append([]string{"--state", state, "--network", network}, args...))
}

// StartEphemeral starts dev with a temporary folder of its own choice below
// $TMPDIR.
func StartEphemeral(t testing.TB, a Account, network string) *Dev {
	t.Helper()
	return startDev(t, a, []string{"--ephemeral", "--network", network})
}

func startDev(t testing.TB, a Account, args []string) *Dev {
	t.Helper()
	args = append([]string{"dev", "--listen", "127.0.0.1:0", "--bosh-listen", "127.0.0.1:0"}, args...)
	d := &Dev{Process: &Process{Account: a, t: t, args: args, ready: "Ctrl-C"}, Broker: Broker{t: t}}
	d.Start()
	return d
}

// Start starts dev (again) and waits until it is ready.
func (d *Dev) Start() {
	t := d.Process.t
	t.Helper()
	d.Process.Start()
	greeting := regexp.MustCompile(`broker +(http://\S+)[\s\S]*?state +(\S+)`).FindStringSubmatch(d.Output())
	if greeting == nil {
		t.Fatalf("dev does not say where it is:\n%s", d.Output())
	}
	d.URL, d.State = greeting[1], greeting[2]
}

// CLI runs a command of the CLI against this dev.
func (d *Dev) CLI(args ...string) (stdout, stderr string, code int) {
	d.Process.t.Helper()
	return d.Account.Run(d.Process.t, append(args, "--state", d.State)...)
}

// Etcds lists the etcd processes of the services.
func (d *Dev) Etcds() []int { return EtcdsOf(d.State) }

// EtcdsOf lists the etcd processes of the services of a state folder.
func EtcdsOf(state string) []int {
	var pids []int
	for _, pid := range ProcessesOf(state) {
		command, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		program, _, _ := bytes.Cut(command, []byte{0})
		if filepath.Base(string(program)) == "etcd" {
			pids = append(pids, pid)
		}
	}
	return pids
}
