package osb_test

// reasons say why a line of the checklist has no spec here.
var reasons = map[int]string{
	10:  "`request_id` is in every line of the log: broker, TestNothingSecretIsLogged",
	16:  "HTTPS is a setting (`broker.cert`): spec/authorities",
	70:  "the same for all plans",
	86:  "a poll for an operation is 410 only a day after the instance's end: orchestrator, TestAnEndIsRememberedForADay",
	101: "operations end at 90 % of `maximum_polling_duration`: orchestrator, TestAnOperationEndsWhileItsPlatformPolls",
	112: "instances are made asynchronously",
	153: "no log drain, volume or route service is offered",
	170: "no log drain, volume or route service is offered",
	171: "no log drain, volume or route service is offered",
	199: "instances are deleted asynchronously",
}
