// What both scripts share: where BoltLink is, calls of its API, whom visitors seem to be and what they ask for.
import http from 'k6/http';
import { fail } from 'k6';

export const origin = __ENV.BOLTLINK_URL || 'http://127.0.0.1:8000';

export const agents = [
  'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36',
  'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Safari/605.1.15',
  'Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0',
  'Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1',
  'Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36',
];

// The answer's JSON, or null where there is none; any status but 2xx ends the iteration.
export function api(method, path, body) {
  const answer = http.request(method, `${origin}${path}`, body === undefined ? null : JSON.stringify(body), {
    headers: { 'Authorization': `Bearer ${__ENV.BOLTLINK_API_KEY}`, 'Content-Type': 'application/json' },
    responseType: 'text',
    tags: { name: `${method} ${path.split(/[/?]/).slice(0, 4).join('/')}` },
  });
  if (answer.status < 200 || answer.status > 299) {
    fail(`${method} ${path}: ${answer.status} ${answer.body}`);
  }
  return answer.body ? answer.json() : null;
}

// The n-th is chosen about 1 / n as often as the first: the inverse of that sum, which is a logarithm.
export function pickByZipf(items) {
  return items[Math.min(items.length - 1, Math.floor((items.length + 1) ** Math.random()) - 1)];
}
