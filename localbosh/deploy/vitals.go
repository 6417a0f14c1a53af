package deploy

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/serviceforge/serviceforge/localbosh/tasks"
)

// VMStateArgs are those of a vms task; Instances also lists instances without a
// VM.
type VMStateArgs struct {
	Deployment string
	Instances  bool
}

// fullRow is a line of GET …/instances?format=full.
type fullRow struct {
	VMCID           *string        `json:"vm_cid"`
	Active          *bool          `json:"active"`
	VMCreatedAt     *string        `json:"vm_created_at"`
	CloudProperties map[string]any `json:"cloud_properties"`
	DiskCID         *string        `json:"disk_cid"`
	DiskCIDs        []string       `json:"disk_cids"`
	IPs             []string       `json:"ips"`
	AgentID         *string        `json:"agent_id"`
	JobName         string         `json:"job_name"`
	Index           int            `json:"index"`
	JobState        *string        `json:"job_state"`
	State           string         `json:"state"`
	VMType          *string        `json:"vm_type"`
	Vitals          *vitals        `json:"vitals"`
	Processes       []process      `json:"processes"`
	AZ              *string        `json:"az"`
	ID              string         `json:"id"`
	Bootstrap       bool           `json:"bootstrap"`
	Ignore          bool           `json:"ignore"`
	Stemcell        stemcellRow    `json:"stemcell"`
}

type stemcellRow struct {
	Name       *string `json:"name"`
	Version    *string `json:"version"`
	APIVersion *int    `json:"api_version"`
}

type process struct {
	Name   string             `json:"name"`
	State  string             `json:"state"`
	Uptime map[string]int64   `json:"uptime"`
	Mem    processMem         `json:"mem"`
	CPU    map[string]float64 `json:"cpu"`
}

type processMem struct {
	KB      int     `json:"kb"`
	Percent float64 `json:"percent"`
}

type vitals struct {
	CPU    map[string]string `json:"cpu"`
	Disk   map[string]usage  `json:"disk"`
	Load   []string          `json:"load"`
	Mem    map[string]string `json:"mem"`
	Swap   map[string]string `json:"swap"`
	Uptime map[string]int64  `json:"uptime"`
}

type usage struct {
	InodePercent string `json:"inode_percent"`
	Percent      string `json:"percent"`
}

// vmState is the task "retrieve vm-stats".
func (e *Engine) vmState(ctx context.Context, r *tasks.Run, args VMStateArgs) (string, error) {
	d, err := e.State.Get(args.Deployment)
	if err != nil {
		return "", err
	}
	machine := e.machine()
	var rows []*fullRow
	var todo []func(context.Context)
	for _, i := range d.Instances {
		if i.VM == nil && !args.Instances {
			continue
		}
		row := e.row(i)
		rows = append(rows, row)
		if i.VM != nil {
			todo = append(todo, func(ctx context.Context) { e.live(ctx, row, i, machine) })
		}
	}
	err = each(ctx, maxAdopt, todo, func(ctx context.Context, fn func(context.Context)) error { fn(ctx); return nil })
	if err != nil {
		return "", err
	}
	for _, row := range rows {
		line, err := json.Marshal(row)
		if err != nil {
			return "", err
		}
		if err := r.WriteResult(append(line, '\n')); err != nil {
			return "", err
		}
	}
	return "", nil
}

// row is what is stored of an instance.
func (e *Engine) row(i Instance) *fullRow {
	row := &fullRow{
		CloudProperties: i.CloudProperties, DiskCIDs: []string{}, IPs: []string{}, Processes: []process{},
		JobName: i.Group, Index: i.Index, State: i.State, ID: i.ID, Bootstrap: i.Bootstrap, Ignore: i.Ignore,
		VMType: nonEmpty(i.VMType), AZ: nonEmpty(i.AZ),
	}
	if row.CloudProperties == nil {
		row.CloudProperties = map[string]any{}
	}
	if i.Disk != nil {
		row.DiskCID, row.DiskCIDs = &i.Disk.CID, []string{i.Disk.CID}
	}
	if i.VM != nil {
		active, created, api := true, i.VM.Created.Format(time.RFC3339), 3
		row.VMCID, row.AgentID, row.Active, row.VMCreatedAt, row.IPs = &i.VM.CID, &i.VM.AgentID, &active, &created, i.IPs()
		row.Stemcell = stemcellRow{&i.VM.Stemcell.Name, &i.VM.Stemcell.Version, &api}
	}
	return row
}

func nonEmpty(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// live adds what the instance's VM says of itself.
func (e *Engine) live(ctx context.Context, row *fullRow, i Instance, machine vitals) {
	state := "unresponsive agent"
	row.JobState = &state
	v, err := e.handle(ctx, i.VM.CID)
	if err != nil {
		return
	}
	s, err := v.Status(ctx)
	if err != nil {
		return
	}
	state = s.JobState
	mine := machine
	mine.Uptime = map[string]int64{"secs": int64(time.Since(i.VM.Created).Seconds())}
	mine.Disk = map[string]usage{"system": machine.Disk["system"], "ephemeral": machine.Disk["system"]}
	if i.Disk != nil {
		mine.Disk["persistent"] = machine.Disk["system"]
	}
	row.Vitals = &mine
	total, _ := meminfo()
	for _, p := range s.Processes {
		row.Processes = append(row.Processes, process{
			Name: p.Name, State: p.State, Uptime: map[string]int64{"secs": p.UptimeSecs},
			Mem: processMem{p.MemKB, percent(int64(p.MemKB), total)}, CPU: map[string]float64{"total": 0},
		})
	}
}

// machine is what all VMs share: they live on one machine.
func (e *Engine) machine() vitals {
	v := vitals{CPU: cpu(), Load: []string{"0", "0", "0"}, Disk: map[string]usage{}}
	if data, err := os.ReadFile("/proc/loadavg"); err == nil {
		if f := strings.Fields(string(data)); len(f) >= 3 {
			v.Load = f[:3]
		}
	}
	total, available := meminfo()
	v.Mem = map[string]string{"kb": fmt.Sprint(total - available), "percent": fmt.Sprintf("%.0f", percent(total-available, total))}
	v.Swap = map[string]string{"kb": "0", "percent": "0"}
	var fs unix.Statfs_t
	if err := unix.Statfs(e.Disks, &fs); err == nil {
		v.Disk["system"] = usage{
			Percent:      fmt.Sprintf("%.0f", percent(int64(fs.Blocks-fs.Bavail), int64(fs.Blocks))),
			InodePercent: fmt.Sprintf("%.0f", percent(int64(fs.Files-fs.Ffree), int64(fs.Files))),
		}
	}
	return v
}

func percent(part, whole int64) float64 {
	if whole <= 0 {
		return 0
	}
	return float64(part*1000/whole) / 10
}

// meminfo is the machine's memory in KiB.
func meminfo() (total, available int64) {
	data, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, 0
	}
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		switch f[0] {
		case "MemTotal:":
			total, _ = strconv.ParseInt(f[1], 10, 64)
		case "MemAvailable:":
			available, _ = strconv.ParseInt(f[1], 10, 64)
		}
	}
	return total, available
}

// cpu is how the machine spent its time since it started, in percent.
func cpu() map[string]string {
	out := map[string]string{"sys": "0", "user": "0", "wait": "0"}
	data, err := os.ReadFile("/proc/stat")
	if err != nil {
		return out
	}
	first, _, _ := strings.Cut(string(data), "\n")
	var n []int64
	var sum int64
	for _, f := range strings.Fields(first)[1:] {
		x, _ := strconv.ParseInt(f, 10, 64)
		n = append(n, x)
		sum += x
	}
	if len(n) < 5 {
		return out
	}
	for key, x := range map[string]int64{"user": n[0] + n[1], "sys": n[2], "wait": n[4]} {
		out[key] = fmt.Sprintf("%.1f", percent(x, sum))
	}
	return out
}
