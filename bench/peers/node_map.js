// A shortener on Node's own http server: one Map; nothing is counted.
const http = require('node:http');
const links = new Map();
for (let n = 0; n < Number(process.argv[3]); n++) links.set('/b' + n, 'https://example.com/page/' + n);
http.createServer((request, response) => {
  const target = links.get(request.url.split('?', 1)[0]);
  if (target === undefined) response.writeHead(404, {'Content-Length': 0});
  else response.writeHead(302, {Location: target, 'Cache-Control': 'private, no-store', 'Content-Length': 0});
  response.end();
}).listen(Number(process.argv[2]), '127.0.0.1');
