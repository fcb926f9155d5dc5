"""A dev server for looking closely at the wire: it tells what it saw, and answers in odd ways."""

WIRE_JS = """\
const http = require('http');
const seen = [];
const waiting = new Set();
const server = http.createServer((q, r) => {
  const path = q.url.split('?')[0];
  if (path !== '/seen') seen.push({ method: q.method, url: q.url, headers: q.rawHeaders });
  const raw = (text, end) => { q.socket.write(text); if (end) q.socket.destroySoon(); };
  if (path === '/seen') {
    r.end(JSON.stringify(seen));
  } else if (path === '/broken') {
    r.writeHead(200, { 'content-length': 100, 'content-type': 'text/html' });
    r.write('<p>ten bytes', () => q.socket.destroy());
  } else if (path === '/broken-chunked') {
    r.writeHead(200, { 'content-type': 'text/html' });
    r.write('<p>some', () => q.socket.destroy());
  } else if (path === '/204' || path === '/304') {
    r.writeHead(Number(path.slice(1)), { etag: '"x"' }).end();
  } else if (path === '/hints') {
    r.writeEarlyHints({ link: '</x.css>; rel=preload' });
    r.end('after hints');
  } else if (path === '/range') {
    r.writeHead(206, { 'content-range': 'bytes 2-4/10', 'accept-ranges': 'bytes' });
    r.end(q.headers.range);
  } else if (path === '/sized') {
    r.writeHead(200, { 'content-length': 5 });
    r.end('12345');
  } else if (path === '/trailers') {
    raw('HTTP/1.1 200 OK\\r\\nTransfer-Encoding: chunked\\r\\nTrailer: X-Sum\\r\\n' +
      'Connection: close\\r\\n\\r\\n4\\r\\nbody\\r\\n0\\r\\nX-Sum: 1\\r\\n\\r\\n', true);
  } else if (path === '/until-closed') {
    raw('HTTP/1.1 200 OK\\r\\nContent-Type: text/plain\\r\\n\\r\\nto the end', true);
  } else if (path === '/refused') {
    raw('HTTP/1.1 413 Too Large\\r\\nContent-Length: 3\\r\\n' +
      'Connection: close\\r\\n\\r\\nbig', true);
  } else if (path === '/nonsense') {
    raw('this is no HTTP\\r\\n\\r\\n', true);
  } else if (path === '/large-header') {
    r.writeHead(200, { 'x-large': 'y'.repeat(40000) });
    r.end('ok');
  } else if (path === '/hop') {
    r.writeHead(200, { connection: 'x-secret', 'x-secret': '1', 'proxy-authenticate': 'Basic' });
    r.end('ok');
  } else if (path === '/split') {
    r.setHeader('set-cookie', ['a=1', 'b=2']).end('ok');
  } else if (path === '/hang') {
    waiting.add(q.socket);
    q.socket.on('close', () => waiting.delete(q.socket));
  } else if (path === '/hanging') {
    r.end(String(waiting.size));
  } else if (path === '/drip') {
    r.writeHead(200, { 'content-type': 'text/event-stream' });
    r.write('data: first\\n\\n');
    server.once('go-on', () => r.end('data: second\\n\\n'));
  } else if (path === '/go-on') {
    server.emit('go-on');
    r.end('ok');
  } else if (path === '/sink') {
    let size = 0;
    q.on('data', (d) => { size += d.length; });
    q.on('end', () => r.end(String(size)));
  } else if (path === '/echo') {
    r.writeHead(200, { 'content-type': 'application/octet-stream' });
    q.pipe(r);
  } else if (path === '/pour') {
    const block = Buffer.alloc(65536, 'x');
    let left = Number(q.url.split('?')[1]);
    const pour = () => {
      while (left > 0) {
        left -= block.length;
        if (!r.write(block)) return r.once('drain', pour);
      }
      r.end();
    };
    pour();
  } else {
    r.setHeader('content-type', 'text/html');
    r.end('<!doctype html><body>' + q.url + '</body>');
  }
});
server.listen(Number(process.env.PORT || 3000), '127.0.0.1', () =>
  console.log(`Local: http://127.0.0.1:${server.address().port}/`));
"""
