/** Markup for Preact without a build step: tagged templates. */
import htm from 'htm';
import { h } from 'preact';

export const html = htm.bind(h);
