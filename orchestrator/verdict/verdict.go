// Package verdict understands what a director says at the end of a task: what
// went wrong, who can do what about it, and what it tells of the infrastructure.
package verdict

import (
	"regexp"
)

// retry is what a failed task calls for.
type retry int

const (
	tryAgain   retry = iota // it may go better: counted, up to maxCreateFailures
	NeverRetry              // the same request would fail in the same way
	JustWait                // nothing failed: something else was in the way; not counted
)

// Health is what the end of a task says of the infrastructure.
type Health int

// Where the end of a task says nothing of the infrastructure, it is neither.
const (
	Nothing Health = iota
	Well
	Ill
)

// Verdict is what a director's words mean.
type Verdict struct {
	Class   string // for programs, e.g. "ips_exhausted"
	Message string // for the app developer: the rest of a sentence
	Advice  string // for the operator: what to do
	Retry   retry
	Health  Health // what the breaker learns of the infrastructure
}

// class is a row of the table: the first whose words are found counts.
type class struct {
	words *regexp.Regexp
	Verdict
}

// classes knows the words of directors (recordings 300–313, 401, 810; WIRE.md)
// and of the CPIs of the common infrastructures, which come inside of them.
var classes = []class{
	{regexp.MustCompile(`Failed to acquire lock|Acquired lock is not valid`), Verdict{"lock",
		"another task works on the deployment", "Nothing: it is tried again when the other task has ended. `bosh locks` shows which it is.", JustWait, Nothing}},
	{regexp.MustCompile(`(?i)Failed to reserve IP|no more available|no available subnets|(InsufficientFreeAddresses|IpAddressGenerationFailure|SubnetIsFull)`), Verdict{"ips_exhausted",
		"the infrastructure has no free network addresses", "Free addresses: delete failed deployments (they keep theirs), or enlarge the network in the cloud config; then `serviceforge repair`.", NeverRetry, Ill}},
	{regexp.MustCompile(`(?i)quota|LimitExceeded|limit exceeded|exceed(s|ed|ing)? .*limit`), Verdict{"quota",
		"the infrastructure's quota is used up", "Raise the quota of the IaaS account, or delete something; then `serviceforge repair`.", NeverRetry, Ill}},
	{regexp.MustCompile(`(?i)InsufficientInstanceCapacity|sufficient .*capacity|RESOURCE_POOL_EXHAUSTED|ZONE_RESOURCE|AllocationFailed|SkuNotAvailable|No valid host|not enough (free )?(memory|disk|resources|space)|(no|insufficient) (capacity|resources)|No space left on device|unable to find .*datastore`), Verdict{"no_capacity",
		"the infrastructure has no room at the moment", "Add capacity, or cordon the pool; then `serviceforge repair`.", tryAgain, Ill}},
	{regexp.MustCompile(`Stemcell (version )?'[^']*'.* doesn't exist|Stemcell .* not found|references an unknown stemcell`), Verdict{"stemcell_missing",
		"the infrastructure is not ready for this plan", "Upload the stemcell that the pool names to the director (`bosh upload-stemcell`), or correct the pool file; then `serviceforge repair`.", NeverRetry, Nothing}},
	{regexp.MustCompile(`Release (version )?'[^']*'.* doesn't exist|references an unknown release|Job '[^']*' not found in release|Package '[^']*' .*not found`), Verdict{"release_missing",
		"the infrastructure is not ready for this plan", "Upload the BOSH releases that the service release names (`bosh upload-release`); then `serviceforge repair`.", NeverRetry, Nothing}},
	{regexp.MustCompile(`references an unknown (network|vm type|disk type|vm extension|az)|references unknown azs?|unknown (network|vm type|disk type)`), Verdict{"cloud_config",
		"the infrastructure is not ready for this plan", "The pool file and the director's cloud config do not agree: compare `bosh cloud-config` with the pool; then `serviceforge repair`.", NeverRetry, Nothing}},
	{regexp.MustCompile(`Timed out pinging|Timed out sending|Timeout::Error|execution expired|unresponsive agent`), Verdict{"timeout",
		"a machine did not come up in time", "Look at the VM's console and at the network between VMs and director (agent to NATS); then `serviceforge repair`.", tryAgain, Ill}},
	{regexp.MustCompile(`is not running after update|pre-start scripts failed|post-start scripts failed|post-deploy scripts failed|Failed Jobs:|failed jobs:|Action Failed`), Verdict{"job_failed",
		"a part of the service did not start", "Read the logs of the job that is named (`bosh -d DEPLOYMENT logs`); then `serviceforge repair`.", tryAgain, Well}},
	{regexp.MustCompile(`from config server|Failed to (fetch|generate) variable`), Verdict{"config_server",
		"the infrastructure's credential store did not give what is needed", "Look at the director's config server (CredHub): is it configured and reachable, does the variable exist?", NeverRetry, Nothing}},
	{regexp.MustCompile(`Required property|Unable to render|Property '[^']*' .*(not |should)|Can't find (property|link)|Failed to resolve link`), Verdict{"manifest",
		"the service offering has a fault", "The director refuses the manifest: the service release or the pool's stub has a fault.", NeverRetry, Nothing}},
	{regexp.MustCompile(`CPI error|Bosh::Clouds|VMCreationFailed|Errors in performing`), Verdict{"iaas",
		"the infrastructure reported an error", "Read what the CPI said: `bosh task N --cpi`; then `serviceforge repair`.", tryAgain, Ill}},
	{regexp.MustCompile(`(?i)task( \d+)?:? cancelled|task \d+ cancelled`), Verdict{"cancelled",
		"the work on it was cancelled", "Somebody cancelled the task at the director; `serviceforge repair` begins anew.", tryAgain, Nothing}},
	{regexp.MustCompile(`does not answer|does not let the broker in|the director gave the task up`), Verdict{"director_away",
		"the infrastructure does not answer", "Is the director up, does the network let us through, are the pool's credentials right?", tryAgain, Ill}},
	{regexp.MustCompile(`was not made by this broker|that this broker did not make|is not this broker's for this instance`), Verdict{"foreign_deployment",
		"a deployment of somebody else has its name", "Look whose it is: `bosh -d DEPLOYMENT manifest`. If it may go: `bosh -d DEPLOYMENT delete-deployment`, or `serviceforge orphans delete --i-own DEPLOYMENT`; then `serviceforge repair`.", NeverRetry, Nothing}},
	{regexp.MustCompile(`of an earlier service instance still exists`), Verdict{"earlier_deployment",
		"a deployment of an earlier service instance has its name", "`serviceforge orphans` tells what it is, `serviceforge orphans delete DEPLOYMENT` deletes it; then `serviceforge repair`.", NeverRetry, Nothing}},
	{regexp.MustCompile(`^errand \S+: `), Verdict{"errand_failed",
		"an errand of the service failed", "Read what it said: `bosh task N --result`; when its reason is gone, `serviceforge repair`.", tryAgain, Nothing}},
}

var unknown = Verdict{"unknown", "the infrastructure reported an error", "Read the director's task: `bosh task N --debug`; then `serviceforge repair`.", tryAgain, Nothing}

// Of says what the words of a director or its IaaS mean.
func Of(cause string) Verdict {
	for _, c := range classes {
		if c.words.MatchString(cause) {
			return c.Verdict
		}
	}
	return unknown
}

// NoRoom says that another pool need not have what was in the way.
func (v Verdict) NoRoom() bool {
	return v.Class == "no_capacity" || v.Class == "quota" || v.Class == "ips_exhausted"
}
