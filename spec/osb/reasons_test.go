package osb_test

// reasons say why a line of the checklist has no spec that names it.
var reasons = map[int]string{
	17: "platforms have credentials, not URLs, of their own, and see their own instances only: spec/authorities, TestAPlatformSeesOnlyItsOwn",
	33: "the catalog changes when a service release is installed; plans in use cannot be removed: spec/install",
	77: "one operation per instance and one per binding; what else comes meanwhile is refused (78), but for a deletion, which takes over (197)",
	80: "an instance can be bound again and unbound while bindings are made: those do not get in each other's way",
	101: "operations end at 90 % of `maximum_polling_duration`, which is too long for a spec to sit out: " +
		"orchestrator, TestAnOperationEndsWhileItsPlatformPolls moves the engine's clock",
	112: "does not apply: an instance is a deployment, which takes longer than a request may; 202, or 422 where the platform does not poll (73)",
	199: "does not apply: a deployment's deletion takes longer than a request may; 202, or 422 where the platform does not poll (204)",
	205: "does not apply: a deletion takes over from whatever operation runs (197, 209)",
	210: "what a deleted instance left behind is found and deleted: orchestrator, TestASweepDeletesOrphans",
}
