package orchestrator

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"github.com/serviceforge/serviceforge"
)

// retry is what a failed task calls for.
type retry int

const (
	tryAgain   retry = iota // it may go better: counted, up to maxCreateFailures
	neverRetry              // the same request would fail in the same way
	justWait                // nothing failed: something else was in the way; not counted
)

// verdict is what a director's words mean.
type verdict struct {
	class   string // for programs, e.g. "ips_exhausted"
	message string // for the app developer: the rest of a sentence
	advice  string // for the operator: what to do
	retry   retry
	health  health // what the breaker learns of the infrastructure
}

// class is a row of the table: the first whose words are found counts.
type class struct {
	words *regexp.Regexp
	verdict
}

// classes knows the words of directors (recordings 300–313, 401, 810; WIRE.md)
// and of the CPIs of the common infrastructures, which come inside of them.
var classes = []class{
	{regexp.MustCompile(`Failed to acquire lock|Acquired lock is not valid`), verdict{"lock",
		"another task works on the deployment", "Nothing: it is tried again when the other task has ended. `bosh locks` shows which it is.", justWait, nothing}},
	{regexp.MustCompile(`(?i)Failed to reserve IP|no more available|no available subnets|(InsufficientFreeAddresses|IpAddressGenerationFailure|SubnetIsFull)`), verdict{"ips_exhausted",
		"the infrastructure has no free network addresses", "Free addresses: delete failed deployments (they keep theirs), or enlarge the network in the cloud config; then `serviceforge repair`.", neverRetry, ill}},
	{regexp.MustCompile(`(?i)quota|LimitExceeded|limit exceeded|exceed(s|ed|ing)? .*limit`), verdict{"quota",
		"the infrastructure's quota is used up", "Raise the quota of the IaaS account, or delete something; then `serviceforge repair`.", neverRetry, ill}},
	{regexp.MustCompile(`(?i)InsufficientInstanceCapacity|sufficient .*capacity|RESOURCE_POOL_EXHAUSTED|ZONE_RESOURCE|AllocationFailed|SkuNotAvailable|No valid host|not enough (free )?(memory|disk|resources|space)|(no|insufficient) (capacity|resources)|No space left on device|unable to find .*datastore`), verdict{"no_capacity",
		"the infrastructure has no room at the moment", "Add capacity, or cordon the pool; then `serviceforge repair`.", tryAgain, ill}},
	{regexp.MustCompile(`Stemcell (version )?'[^']*'.* doesn't exist|Stemcell .* not found|references an unknown stemcell`), verdict{"stemcell_missing",
		"the infrastructure is not ready for this plan", "Upload the stemcell that the pool names to the director (`bosh upload-stemcell`), or correct the pool file; then `serviceforge repair`.", neverRetry, nothing}},
	{regexp.MustCompile(`Release (version )?'[^']*'.* doesn't exist|references an unknown release|Job '[^']*' not found in release|Package '[^']*' .*not found`), verdict{"release_missing",
		"the infrastructure is not ready for this plan", "Upload the BOSH releases that the service release names (`bosh upload-release`); then `serviceforge repair`.", neverRetry, nothing}},
	{regexp.MustCompile(`references an unknown (network|vm type|disk type|vm extension|az)|references unknown azs?|unknown (network|vm type|disk type)`), verdict{"cloud_config",
		"the infrastructure is not ready for this plan", "The pool file and the director's cloud config do not agree: compare `bosh cloud-config` with the pool; then `serviceforge repair`.", neverRetry, nothing}},
	{regexp.MustCompile(`Timed out pinging|Timed out sending|Timeout::Error|execution expired|unresponsive agent`), verdict{"timeout",
		"a machine did not come up in time", "Look at the VM's console and at the network between VMs and director (agent to NATS); then `serviceforge repair`.", tryAgain, ill}},
	{regexp.MustCompile(`is not running after update|pre-start scripts failed|post-start scripts failed|post-deploy scripts failed|Failed Jobs:|failed jobs:|Action Failed`), verdict{"job_failed",
		"a part of the service did not start", "Read the logs of the job that is named (`bosh -d DEPLOYMENT logs`); then `serviceforge repair`.", tryAgain, well}},
	{regexp.MustCompile(`from config server|Failed to (fetch|generate) variable`), verdict{"config_server",
		"the infrastructure's credential store did not give what is needed", "Look at the director's config server (CredHub): is it configured and reachable, does the variable exist?", neverRetry, nothing}},
	{regexp.MustCompile(`Required property|Unable to render|Property '[^']*' .*(not |should)|Can't find (property|link)|Failed to resolve link`), verdict{"manifest",
		"the service offering has a fault", "The director refuses the manifest: the service release or the pool's stub has a fault.", neverRetry, nothing}},
	{regexp.MustCompile(`CPI error|Bosh::Clouds|VMCreationFailed|Errors in performing`), verdict{"iaas",
		"the infrastructure reported an error", "Read what the CPI said: `bosh task N --cpi`; then `serviceforge repair`.", tryAgain, ill}},
	{regexp.MustCompile(`(?i)task( \d+)?:? cancelled|task \d+ cancelled`), verdict{"cancelled",
		"the work on it was cancelled", "Somebody cancelled the task at the director; `serviceforge repair` begins anew.", tryAgain, nothing}},
	{regexp.MustCompile(`does not answer|does not let the broker in|the director gave the task up`), verdict{"director_away",
		"the infrastructure does not answer", "Is the director up, does the network let us through, are the pool's credentials right?", tryAgain, ill}},
	{regexp.MustCompile(`was not made by this broker|that this broker did not make|is not this broker's for this instance`), verdict{"foreign_deployment",
		"a deployment of somebody else has its name", "Look whose it is: `bosh -d DEPLOYMENT manifest`. If it may go: `bosh -d DEPLOYMENT delete-deployment`, or `serviceforge orphans delete --i-own DEPLOYMENT`; then `serviceforge repair`.", neverRetry, nothing}},
	{regexp.MustCompile(`of an earlier service instance still exists`), verdict{"earlier_deployment",
		"a deployment of an earlier service instance has its name", "`serviceforge orphans` tells what it is, `serviceforge orphans delete DEPLOYMENT` deletes it; then `serviceforge repair`.", neverRetry, nothing}},
	{regexp.MustCompile(`^errand \S+: `), verdict{"errand_failed",
		"an errand of the service failed", "Read what it said: `bosh task N --result`; when its reason is gone, `serviceforge repair`.", tryAgain, nothing}},
}

var unknown = verdict{"unknown", "the infrastructure reported an error", "Read the director's task: `bosh task N --debug`; then `serviceforge repair`.", tryAgain, nothing}

// classify says what the words of a director or its IaaS mean.
func classify(cause string) verdict {
	for _, c := range classes {
		if c.words.MatchString(cause) {
			return c.verdict
		}
	}
	return unknown
}

// shortestHidden is the least length of a value that is a secret for sure;
// shorter ones are words that appear anywhere.
const shortestHidden = 6

// hide replaces the instance's secrets and parameters in what a director said:
// some of its messages quote the manifest (recording 300-deploy-bad-noupdate).
func hide(i *serviceforge.Instance, told string) string {
	var values []string
	for _, document := range []serviceforge.Secret{i.Secrets, i.Parameters, i.Operation.Wish.Parameters} {
		var content any
		if json.Unmarshal([]byte(document.Reveal()), &content) == nil {
			values = leaves(content, values)
		}
	}
	slices.SortFunc(values, func(a, b string) int { return len(b) - len(a) }) // a part must not go before the whole
	for _, v := range values {
		told = strings.ReplaceAll(told, v, "[redacted]")
	}
	return told
}

// leaves collects the strings of a JSON value, as they are and as Ruby and JSON quote them.
func leaves(value any, into []string) []string {
	switch v := value.(type) {
	case map[string]any:
		for _, member := range v {
			into = leaves(member, into)
		}
	case []any:
		for _, member := range v {
			into = leaves(member, into)
		}
	case string:
		if len(v) < shortestHidden {
			return into
		}
		into = append(into, v)
		if quoted, err := json.Marshal(v); err == nil && string(quoted[1:len(quoted)-1]) != v {
			into = append(into, string(quoted[1:len(quoted)-1]))
		}
	}
	return into
}
