// Package etcdserver is the etcd server that our etcd BOSH package holds: etcd whose client port opens only after
// authentication is on.
package etcdserver

// Main runs the server with etcd's own flags and ours (see releases/etcd/bosh/jobs/etcd) until SIGTERM or SIGINT
// and returns the exit code. args are the arguments after the program's name.
func Main(args []string) int { return 1 }
