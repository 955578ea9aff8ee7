// Publishes a folder's files with Netlify's own client, and prints what it was told.
import {createHash} from "node:crypto";
import {NetlifyAPI} from "@netlify/api";

const [port, token, site] = process.argv.slice(2);
const netlify = new NetlifyAPI(token, {scheme: "http", host: `127.0.0.1:${port}`, pathPrefix: "/api/v1"});
const files = {"index.html": "<h1>hello</h1>", "a b/über.css": "body {}", "same.html": "<h1>hello</h1>"};
const digests = Object.fromEntries(
  Object.entries(files).map(([path, text]) => [path, createHash("sha1").update(text).digest("hex")]),
);
const user = await netlify.getCurrentUser();
let deploy = await netlify.createSiteDeploy({
  siteId: site,
  title: "from node",
  body: {files: digests, async: true, branch: "main", draft: false},
});
const first = deploy.state;
while (deploy.state === "preparing") deploy = await netlify.getSiteDeploy({siteId: site, deployId: deploy.id});
const required = deploy.required;
for (const sha1 of required) {
  const [path] = Object.entries(digests).find(([, one]) => one === sha1);
  await netlify.uploadDeployFile({deployId: deploy.id, path, body: Buffer.from(files[path])});
}
while (deploy.state !== "ready" && deploy.state !== "error")
  deploy = await netlify.getSiteDeploy({siteId: site, deployId: deploy.id});
const listed = await netlify.listSiteDeploys({siteId: site});
let wrong = 0;
try {
  await netlify.uploadDeployFile({deployId: deploy.id, path: "index.html", body: Buffer.from("other")});
} catch (error) {
  wrong = error.status;
}
console.log(JSON.stringify({
  user: user.email, first, required: required.length, state: deploy.state, url: deploy.ssl_url,
  listed: listed.map((one) => one.id), id: deploy.id, wrong,
}));
