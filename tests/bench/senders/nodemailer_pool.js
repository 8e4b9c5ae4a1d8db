// nodemailer's pool, driven by lines on standard input: "COUNT SIZE" sends so many messages, each to a recipient of its
// own; "sent" is the answer when the relay has taken the last one. nodemailer_pool.js MODULE OPTIONS
"use strict";

const [module_path, options] = process.argv.slice(2);
const transport = require(module_path).createTransport(JSON.parse(options));
const line = "X".repeat(78) + "\r\n";

function content(size) {
	const header = "From: <sender@front.test>\r\nTo: <recipient@far.example>\r\nSubject: measured\r\n\r\n";
	return header + line.repeat(Math.ceil((size - header.length) / line.length));
}

async function send(count, size) {
	const raw = content(size);
	const one = number => transport.sendMail({
		envelope: { from: "sender@front.test", to: number + "recipient@far.example" }, raw });
	await Promise.all(Array.from({ length: count }, (_, number) => one(number)));
}

require("readline").createInterface({ input: process.stdin })
	.on("line", request => send(...request.split(" ").map(Number))
		.then(() => console.log("sent"), error => console.log(error.message)))
	.on("close", () => transport.close());
console.log("ready");
