// Package render turns the ERB templates of BOSH jobs into the files an instance gets, by a CRuby compiled to
// WebAssembly in a child process that has neither file system nor network.
package render

import "io/fs"

// Template is one entry of a job's `templates:` (or its monit file, with Source and Dest "monit").
type Template struct {
	// Source is the path inside the job's templates folder; errors name it.
	Source string
	// Dest is the path below /var/vcap/jobs/<job>, slash separated.
	Dest string
	// Body is the template as the release holds it. Without "<%" it is copied byte for byte.
	Body []byte
}

// Job is one job of an instance with everything its templates may ask for.
type Job struct {
	// Name is the job's name in the release.
	Name string
	// Templates are rendered in this order; the order has no influence on the result.
	Templates []Template
	// Spec is the document that ERB sees as `spec`: deployment, name, index, id, az, bootstrap, address, ip,
	// networks, job {name}, release {name, version}, persistent_disk, and
	//   "properties": map[string]any, the declared ones with defaults filled in, nested ("a.b" is {"a": {"b": …}}),
	//   "links": map[string]any, per link name {address, instances: [{name,id,index,az,address,bootstrap}…], properties: {…},
	//            instance_group, deployment_name, default_network, domain}.
	// It must be encodable as JSON. Absent keys are nil in Ruby.
	Spec map[string]any
}

// Instance is one instance of a deployment with its jobs.
type Instance struct {
	// Group is the name of the instance group, Index and ID the instance's own.
	Group string
	Index int
	ID    string
	Jobs  []Job
}

// File is one rendered file of a job.
type File struct {
	// Path is the template's Dest.
	Path string
	// Mode is 0750 for bin/*, else 0640, as the BOSH agent sets it.
	Mode fs.FileMode
	Data []byte
}

// JobResult is what one job of one instance was rendered to.
type JobResult struct {
	Name string
	// Files are sorted by path and do not contain the monit file.
	Files []File
	// Monit is the rendered monit file; nil if the job had none.
	Monit []byte
	// Digest is the hex SHA-256 over paths, modes and bytes of Files and Monit: equal digests, nothing to do.
	Digest string
}

// Result is what one instance was rendered to, jobs in the order asked for.
type Result struct {
	Group string
	Index int
	ID    string
	Jobs  []JobResult
}
