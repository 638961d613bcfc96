// Opens HTML reports in a headless Chromium as a person would: node check.mjs DIRECTORY
// DIRECTORY has the reports and expect.json: a list of { file, clusters, search: [text, rows], label: [text, rows],
// state: [text, rows], unfolds: [cluster, text], texts: [text], within: milliseconds }. Screenshots go to DIRECTORY too.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import puppeteer from "puppeteer-core";

const directory = resolve(process.argv[2]);
const expected = JSON.parse(readFileSync(join(directory, "expect.json"), "utf8"));
assert.ok(expected.length > 0, "expect.json names no report");
const browser = await puppeteer.launch({
  executablePath: process.env.KUBEMINT_CHROMIUM || "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-dev-shm-usage"],
});

const address = (file) => `file://${join(directory, file)}`;

// Opens a page that may load nothing but itself, and on which nothing may go wrong.
async function open(file, hash = "") {
  const page = await browser.newPage();
  const wrong = [];
  page.on("console", (message) => wrong.push(`console: ${message.text()}`));
  page.on("pageerror", (error) => wrong.push(`error: ${error}`));
  page.on("dialog", (dialog) => { wrong.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });
  page.on("request", (request) => { if (!request.url().startsWith(address(file))) wrong.push(`request: ${request.url()}`); });
  await page.evaluateOnNewDocument(() => {
    window.violations = [];
    document.addEventListener("securitypolicyviolation", (event) => window.violations.push(event.violatedDirective));
  });
  const start = performance.now();
  await page.goto(address(file) + hash);
  await page.waitForFunction(() => document.querySelector("#rows tr") || document.querySelector("#count").textContent.startsWith("0"));
  return { page, wrong, took: performance.now() - start };
}

const count = (page) => page.$eval("#count", (element) => Number(element.textContent.split(" ")[0]));

async function type(page, selector, text) {
  await page.$eval(selector, (element) => { element.value = ""; element.dispatchEvent(new Event("input")); });
  await page.type(selector, text);
}

async function checkFilter(file, selector, name, [text, rows]) {
  const { page } = await open(file);
  if (selector === "#state") await page.select(selector, text);
  else await type(page, selector, text);
  assert.equal(await count(page), rows, `${file}: ${name} ${text}`);
  // The address leads to the same rows.
  const hash = new URL(page.url()).hash;
  assert.ok(hash.includes(`${name}=`), `${file}: ${hash}`);
  const again = await open(file, hash);
  assert.equal(await count(again.page), rows, `${file}: ${hash}`);
  await Promise.all([page.close(), again.page.close()]);
}

for (const one of expected) {
  const { file } = one;
  const times = [];
  for (let round = 0; round < 3; round += 1) {
    const { page, took } = await open(file);
    times.push(took);
    await page.close();
  }
  const least = Math.min(...times);
  console.log(`${file}: opens in ${Math.round(least)} ms (least of ${times.map(Math.round).join(", ")})`);
  if (one.within) assert.ok(least < one.within, `${file} took ${least} ms, and not ${one.within}`);

  const { page, wrong } = await open(file);
  assert.equal(await count(page), one.clusters, file);
  if (one.search) await checkFilter(file, "#search", "search", one.search);
  if (one.label) await checkFilter(file, "#label", "label", one.label);
  if (one.state) await checkFilter(file, "#state", "state", one.state);
  if (one.unfolds) {
    const [cluster, text] = one.unfolds;
    // With the keyboard alone: type a name, go on to the row, unfold it.
    await type(page, "#search", cluster);
    await page.focus("#label");
    for (let steps = 0; steps < 5; steps += 1) {
      await page.keyboard.press("Tab");
      if (await page.evaluate(() => document.activeElement.hasAttribute("aria-expanded"))) break;
    }
    await page.keyboard.press("Enter");
    const shown = await page.$eval("#rows .detail", (element) => element.textContent);
    assert.ok(shown.includes(text), `${file}: ${cluster} does not show ${text}: ${shown}`);
    assert.equal(await page.evaluate(() => document.activeElement.getAttribute("aria-expanded")), "true");
    await page.keyboard.press("Space");
    assert.equal(await page.$("#rows .detail"), null, `${file}: it does not fold again`);
    await page.keyboard.press("Space");
  }
  for (const text of one.texts || []) {
    assert.ok(await page.evaluate((text) => document.body.innerText.includes(text), text), `${file} lacks ${text}`);
  }
  // Nothing that came from others became an element.
  const strange = await page.evaluate(() => document.querySelectorAll("img, iframe, object, embed, svg, link, script[src]").length);
  assert.equal(strange, 0, `${file} has elements that nobody wrote`);
  assert.equal(await page.evaluate(() => window.injected), undefined, `${file} ran what others wrote`);
  for (const theme of ["light", "dark"]) {
    await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: theme }]);
    for (const width of [1280, 390]) {
      await page.setViewport({ width, height: 900 });
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      assert.ok(overflow <= 0, `${file} is ${overflow} pixels too wide at ${width}`);
      await page.screenshot({ path: join(directory, `${file}-${theme}-${width}.png`) });
    }
  }
  await page.emulateMediaType("print");
  assert.equal(await page.$eval("#filters", (element) => getComputedStyle(element).display), "none", `${file} prints its filters`);
  assert.deepEqual(await page.evaluate(() => window.violations), [], file);
  assert.deepEqual(wrong, [], file);
  await page.close();
}
await browser.close();
console.log(`${expected.length} passed, 0 failed`);
